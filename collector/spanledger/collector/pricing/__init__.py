"""What is done about prices besides pricing: rules and books with their history, re-rating, and questions."""

from spanledger.collector.pricing.desk import PriceDesk, open_prices
from spanledger.collector.pricing.timer import PriceTimer

__all__ = ["PriceDesk", "PriceTimer", "open_prices"]
