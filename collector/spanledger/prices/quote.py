"""The answer to "what would this call cost?"."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a call costs, to the last digit, or why nobody can say."""

    cost_usd: Decimal | None
    cost_state: str
    unpriced_reason: str | None = None
    priced_as: str | None = None
    price_match: str | None = None
    flags: tuple[str, ...] = ()
