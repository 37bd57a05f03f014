"""What the ledger says: bundled SQL over its entries, and what is computed from it.

from spanledger.analytics import connect, overview
figures = overview(connect("spanledger-data"), datetime.now(UTC))
figures.month.cost_usd, figures.month.unpriced, figures.projection
"""

from spanledger.analytics.calls import Extent, errors, extent, latency, latest_calls, unpriced_models
from spanledger.analytics.connect import connect
from spanledger.analytics.overview import Overview, overview
from spanledger.analytics.projection import Projection
from spanledger.analytics.selection import Selection
from spanledger.analytics.spend import Totals, spend_by, spend_over_time, totals

__all__ = [
    "Extent",
    "Overview",
    "Projection",
    "Selection",
    "Totals",
    "connect",
    "errors",
    "extent",
    "latency",
    "latest_calls",
    "overview",
    "spend_by",
    "spend_over_time",
    "totals",
    "unpriced_models",
]
