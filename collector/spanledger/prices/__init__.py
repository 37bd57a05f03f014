"""What a call costs: the price book, compiled to cells."""

from spanledger.prices.prices import Prices
from spanledger.prices.quote import Quote

__all__ = ["Prices", "Quote"]
