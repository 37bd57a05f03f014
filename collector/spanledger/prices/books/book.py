"""What a book of prices is to the rest: a name and a hash, a way to find a model, and the cells of what was found."""

from typing import Protocol

from spanledger.prices.books.found import Found
from spanledger.prices.cell import Cell


class Book(Protocol):
    """All rates known at a moment."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    def find(self, provider: str, model: str) -> Found | None:
        """The model called `model` at `provider`, spelled as `names.py` gives them; None when it is unknown."""

    def cells(self, found: Found, tier: str) -> tuple[Cell, ...]:
        """The cells of a model under a tier: they cover all time and all sizes, and none overlaps another."""

    def listed(self) -> list[tuple[str, str]]:
        """Provider and model of everything in the book, in its order."""

    def says(self, provider: str, model: str) -> object:
        """All that it says about the prices of a model that it lists, to be compared with another state of the same book."""

    def context_window(self, provider: str, model: str) -> int | None:
        """Most input tokens that the model takes; None when the book does not say."""

    def max_output_tokens(self, provider: str, model: str) -> int | None:
        """Most output tokens that the model gives; None when the book does not say."""
