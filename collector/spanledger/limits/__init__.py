"""Limits, counters, holds and checks: may this call go ahead?"""

from spanledger.limits.check import Check, Standing, Verdict
from spanledger.limits.errors import LimitError
from spanledger.limits.limit import Limit
from spanledger.limits.limits import Limits

__all__ = ["Check", "Limit", "LimitError", "Limits", "Standing", "Verdict"]
