"""The prices of a collector: opened from what is stored, and changed while it runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spanledger.collector.pricing.books import PriceBooks
from spanledger.collector.pricing.rules import PriceRules, Row
from spanledger.control import Control
from spanledger.prices import Prices
from spanledger.prices.difference import Difference
from spanledger.prices.settings import Settings


def open_prices(control: Control, data: Path, settings: Settings | None = None) -> Prices:
    """The prices that the control database and the data folder hold; raises `NotABook` when a stored book is damaged."""
    books = PriceBooks(control, data)
    prices = Prices(books.in_use(), PriceRules(control).rules(), settings)
    books.note_installed(prices.layers.books[0])
    return prices


class PriceDesk:
    """Where prices are looked up and changed. Every change is in force, for the next batch, when the method returns."""

    def __init__(self, control: Control, data: Path, prices: Prices) -> None:
        self.rules = PriceRules(control)
        self.books = PriceBooks(control, data)
        self.prices = prices

    def make(self, forms: Sequence[Mapping[str, Any]], *, who: str, why: str | None = None, supersede: str = "") -> list[Row]:
        """`PriceRules.make`, and use them."""
        made = self.rules.make(forms, who=who, why=why, supersede=supersede)
        self._use()
        return made

    def change(self, rule_id: str, fields: Mapping[str, Any], *, who: str, why: str | None = None) -> Row:
        """`PriceRules.change`, and use it."""
        row = self.rules.change(rule_id, fields, who=who, why=why)
        self._use()
        return row

    def compare_book(self, content: bytes, version: str = "") -> Difference:
        """How the book in a file differs from the one of its kind in use."""
        return self.books.compare(content, version, self.prices.layers.books)[1]

    def load_book(self, content: bytes, version: str = "", *, accept: bool, who: str, note: str = "") -> Difference:
        """`PriceBooks.load`, and use it."""
        found = self.books.load(content, version, self.prices.layers.books, accept=accept, who=who, note=note)
        self._use(reread=True)
        return found

    def drop_book(self, name: str, *, who: str, note: str = "") -> None:
        """`PriceBooks.drop`, and use what is left."""
        self.books.drop(name, who=who, note=note)
        self._use(reread=True)

    def _use(self, *, reread: bool = False) -> None:
        self.prices.use(books=self.books.in_use() if reread else None, rules=self.rules.rules())
