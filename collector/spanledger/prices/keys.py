"""What each distinct (provider, model, tier) of telemetry resolves to, kept so that a batch is priced by a join.

Only what the book knows takes a place in the tables, so they cannot outgrow it; the names that led there are in a
bounded cache, so that fifty thousand strange names cost time and no memory.
"""

from collections.abc import Iterable
from fractions import Fraction

import polars as pl

from spanledger.prices.book import STANDARD, Book, Cell, Found
from spanledger.prices.meters import METERS
from spanledger.prices.names import provider_id, spellings

MOST_NAMES = 20_000
PICO = 10**12

Name = tuple[str | None, str | None, str]

_BENIGN = frozenset("preview latest exp experimental beta instruct chat v1 v2 v3 001 002 003 online".split())

RATE_COLUMNS = tuple(f"rate.{meter.counter}" for meter in METERS)


class Keys:
    """Keys of one book, growing as names are met."""

    def __init__(self, books: Iterable[Book]) -> None:
        self.books = tuple(books)
        self.cells: list[Cell] = []
        self._names: dict[Name, int] = {}
        self._keys: dict[tuple[Found | str, str], int] = {}
        self._cells_of: list[tuple[int, ...]] = []
        self._found: list[Found | str] = []
        self._tables: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame] | None = None

    def key(self, name: Name) -> int:
        """The key of a name; a name that no book knows has a key that says why."""
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            known = self._names[name] = self._resolved(*name)
        return known

    def cells_of(self, key: int) -> tuple[int, ...]:
        return self._cells_of[key]

    def found(self, key: int) -> Found | str:
        return self._found[key]

    def find(self, provider: str | None, model: str | None) -> tuple[Book, Found] | str:
        """Who knows a model and as what, or why nobody does."""
        if not model or not model.strip():
            return "no model named"
        if not provider or not provider.strip():
            return "no provider named"
        known_as = provider_id(provider)
        for spelled, changed in spellings(known_as, model):
            for book in self.books:
                found = book.find(known_as, spelled)
                if found is not None:
                    return book, _judged(found, model, changed)
        return "unknown model"

    def _resolved(self, provider: str | None, model: str | None, tier: str) -> int:
        answer = self.find(provider, model)
        found: Found | str = answer if isinstance(answer, str) else answer[1]
        known = self._keys.get((found, tier))
        if known is not None:
            return known
        cells = (Cell(unpriced=answer),) if isinstance(answer, str) else answer[0].cells(answer[1], tier)
        key = self._keys[(found, tier)] = len(self._cells_of)
        self._cells_of.append(tuple(range(len(self.cells), len(self.cells) + len(cells))))
        self.cells += cells
        self._found.append(found)
        self._tables = None
        return key

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Boxes by key, rates by cell (a row each), and names by key (a row each)."""
        if self._tables is None:
            self._tables = self._boxes(), self._rates(), self._named()
        return self._tables

    def _boxes(self) -> pl.DataFrame:
        rows = [(key, cell, self.cells[cell]) for key, cells in enumerate(self._cells_of) for cell in cells]
        return pl.DataFrame(
            [(k, n, c.starts, c.ends, c.minute_from, c.minute_to, c.weekdays, c.over, c.upto) for k, n, c in rows],
            schema={"key": pl.Int32, "cell": pl.UInt32, "starts": pl.Int64, "ends": pl.Int64, "minute_from": pl.Int32,
                    "minute_to": pl.Int32, "weekdays": pl.Int32, "over": pl.Int64, "upto": pl.Int64},
            orient="row",
        )  # fmt: skip

    def _rates(self) -> pl.DataFrame:
        columns: dict[str, list[int | None]] = {
            f"rate.{m.counter}": [_pico(c.rates.get(m.counter)) for c in self.cells] for m in METERS
        }
        return pl.DataFrame(columns, schema=dict.fromkeys(RATE_COLUMNS, pl.Int64)).with_columns(
            pl.Series("whole", [is_whole(c) for c in self.cells], pl.Boolean),
            pl.Series("cell_reason", [c.unpriced for c in self.cells], pl.String),
            pl.Series("cell_flags", [list(c.flags) for c in self.cells], pl.List(pl.String)),
            pl.Series("estimated", [c.estimated for c in self.cells], pl.Boolean),
            pl.Series("free", [c.free for c in self.cells], pl.Boolean),
            pl.Series("inherits", [_inherits(c) for c in self.cells], pl.Boolean),
        )

    def _named(self) -> pl.DataFrame:
        found = [f if isinstance(f, Found) else None for f in self._found]
        return pl.DataFrame(
            {
                "priced_as": pl.Series([f"{f.provider}/{f.model}" if f else None for f in found], dtype=pl.String),
                "price_match": pl.Series([f.match if f else None for f in found], dtype=pl.String),
                "name_flags": pl.Series([list(f.flags) if f else [] for f in found], dtype=pl.List(pl.String)),
            }
        )


def _judged(found: Found, sent: str, changed: bool) -> Found:
    """`found` with what is unusual about how it was found, judged by the name as it was sent."""
    flags = list(found.flags)
    if sent.strip().lower().endswith("-latest") and not found.model.lower().endswith("-latest"):
        flags.append("alias_drift")
    words = [word for word in found.rest.strip("-:@./").replace(":", "-").replace(".", "-").split("-") if word]
    if any(not word.isdigit() and word not in _BENIGN for word in words):
        flags.append("prefix_match")
    match = "alias" if changed and found.match == "exact" else found.match
    return Found(provider=found.provider, model=found.model, match=match, flags=tuple(flags), rest="")


def is_whole(cell: Cell) -> bool:
    """Whether every rate is a whole number of pico-dollars, so that 64-bit integers price it exactly."""
    return all((PICO * rate).denominator == 1 for rate in cell.rates.values()) and not cell.least_seconds


def _pico(rate: Fraction | None) -> int | None:
    return None if rate is None else int(PICO * rate)


def _inherits(cell: Cell) -> bool:
    return any(name.startswith(("cache_read", "cache_write_tokens")) or "audio" in name for name in cell.inherited)


__all__ = ["RATE_COLUMNS", "STANDARD", "Keys", "is_whole"]
