"""What each name of telemetry resolves to, kept as tables so that a batch is priced by a join.

Only what books and rules know takes a place in the tables, so they cannot outgrow them; the names that led there are
in a bounded cache, so that fifty thousand strange names cost time and no memory.
"""

from fractions import Fraction
from threading import Lock

import polars as pl

from spanledger.prices.cell import UNBOUNDED, Cell
from spanledger.prices.layers import Layers, Name, Priced
from spanledger.prices.meters import HOUR, METERS, Meter

MOST_NAMES = 50_000
MOST_KEYS = 20_000

#: Rates are whole numbers of this part of a dollar: a 3,600th of 10⁻²⁴, in which both a price per million tokens
#: with eighteen decimals and a price per hour that is charged by the microsecond are whole.
GRAIN = HOUR * 10**24

_BOXES = {
    "key": pl.Int32, "cell": pl.UInt32, "starts": pl.Int64, "ends": pl.Int64, "minute_from": pl.Int64,
    "minute_to": pl.Int64, "weekdays": pl.Int64, "over": pl.Int64, "upto": pl.Int64,
}  # fmt: skip


def grains(meter: Meter, rate: Fraction) -> int:
    """A rate in USD for one, in grains; for one microsecond where the meter counts seconds."""
    return round(rate * GRAIN / (1_000_000 if meter.seconds else 1))


class Tables:
    """One state of the keys: boxes by key, and what is in each cell and each key, a row each."""

    def __init__(self, keys: list[Priced]) -> None:
        cells: list[Cell] = []
        single: list[int | None] = []
        rows: list[tuple[int, ...]] = []
        for key, priced in enumerate(keys):
            single.append(len(cells) if len(priced.cells) == 1 else None)
            for cell in priced.cells:
                if len(priced.cells) > 1:
                    b = cell.box
                    rows.append((key, len(cells), b.starts, b.ends, b.minute_from, b.minute_to, b.weekdays, b.over, b.upto))
                cells.append(cell)
        #: Key → its cell, where it has but one.
        self.single = pl.Series("cell", single, pl.UInt32)
        self.boxes = pl.DataFrame(rows, schema=_BOXES, orient="row")
        self.rates = {m.counter: pl.Series(m.counter, [_grains(m, cell) for cell in cells], pl.Int128) for m in METERS}
        self.inherits = {
            m.counter: pl.Series(m.counter, [m.counter in cell.inherited for cell in cells], pl.Boolean)
            for m in METERS if m.part_of
        }  # fmt: skip
        self.reason = pl.Series("reason", [cell.unpriced for cell in cells], pl.String)
        self.least_seconds = pl.Series("least_seconds", [cell.least_seconds for cell in cells], pl.Int64)
        self.state = pl.Series("state", [_state(cell) for cell in cells], pl.String)
        self.sized = pl.Series("sized", [cell.box.over >= 0 or cell.box.upto < UNBOUNDED for cell in cells], pl.Boolean)
        flags = [(*(p.found.flags if p.found else ()), *cell.flags) for p in keys for cell in p.cells]
        #: The distinct sets of flags, the empty one first, and which of them each cell has.
        self.flag_sets = [(), *sorted(set(flags) - {()})]
        numbers = {held: number for number, held in enumerate(self.flag_sets)}
        self.flag_set = pl.Series("flag_set", [numbers[held] for held in flags], pl.Int32)
        found = [priced.found for priced in keys]
        self.priced_as = pl.Series("priced_as", [f"{f.provider}/{f.model}" if f else None for f in found], pl.String)
        self.match = pl.Series("price_match", [f.match if f else None for f in found], pl.String)


class Keys:
    """The keys of one state of books and rules, growing as names are met. Safe to use from several threads."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self._keys: list[Priced] = []
        self._names: dict[Name, int] = {}
        self._known: dict[object, int] = {}
        self._tables: Tables | None = None
        self._lock = Lock()

    def names(self) -> list[Name]:
        """The names that have been met and are remembered."""
        with self._lock:
            return list(self._names)

    def of(self, names: list[Name]) -> tuple[list[int], Tables]:
        """The keys of names, and tables in which all of them are."""
        with self._lock:
            if len(self._keys) > MOST_KEYS:
                self._keys, self._names, self._known, self._tables = [], {}, {}, None
            keys = []
            for name in names:
                key = self._names.get(name)
                keys.append(self._new(name) if key is None else key)
            if self._tables is None:
                self._tables = Tables(self._keys)
            return keys, self._tables

    def _new(self, name: Name) -> int:
        priced = self.layers.priced(name)
        # However many names lead to a model, it is one key; what nobody knows is one key for each reason.
        reasons = tuple(cell.unpriced for cell in priced.cells)
        what = (priced.found, name.tier, name.provider, priced.rules) if priced.found else reasons
        key = self._known.get(what)
        if key is None:
            key = self._known[what] = len(self._keys)
            self._keys.append(priced)
            self._tables = None
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
        self._names[name] = key
        return key


def _grains(meter: Meter, cell: Cell) -> int | None:
    rate = cell.rates.get(meter.counter)
    return None if rate is None or cell.unpriced is not None else grains(meter, rate)


def _state(cell: Cell) -> str:
    if cell.unpriced is not None:
        return "unpriced"
    return "free" if cell.free else "estimated" if cell.estimated else "priced"
