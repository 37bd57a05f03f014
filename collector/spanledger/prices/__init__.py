"""What a call costs: the price book, compiled to cells."""

from spanledger.prices.prices import Prices
from spanledger.prices.quote import Call, Quote

__all__ = ["Call", "Prices", "Quote"]
