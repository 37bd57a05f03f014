"""What each name of telemetry resolves to, kept as tables so that a batch is priced by a join.

Only what books and rules know takes a place in the tables, so they cannot outgrow them; the names that led there are
in a bounded cache, so that fifty thousand strange names cost time and no memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.prices.cell import UNBOUNDED, Cell
from spanledger.prices.layers import Layers, Name, Priced
from spanledger.prices.meters import HOUR, METERS, Meter

MOST_NAMES = 50_000
MOST_KEYS = 20_000

#: Rates are whole numbers of this part of a dollar: a 3,600th of 10⁻²⁴, in which both a price per million tokens
#: with eighteen decimals and a price per hour that is charged by the microsecond are whole.
GRAIN = HOUR * 10**24
#: Grains in a pico-dollar, the last digit of the ledger's money.
PICO = GRAIN // 10**12

#: States of a cell by number, in the words of the ledger; a sender's word makes the last.
STATES = ("priced", "estimated", "free", "unpriced", "reported")

_BOXES = {
    "key": pl.Int64, "cell": pl.Int64, "starts": pl.Int64, "ends": pl.Int64, "minute_from": pl.Int64,
    "minute_to": pl.Int64, "weekdays": pl.Int64, "over": pl.Int64, "upto": pl.Int64,
}  # fmt: skip


#: Sets of meters are sums of these.
BIT: dict[str, int] = {meter.counter: 1 << place for place, meter in enumerate(METERS)}

#: Tokens, and what is charged in place of them: where one of the two is charged, the other needs no rate.
TOKENS = sum(BIT[meter.counter] for meter in METERS if meter.counter.endswith("_tokens"))
INSTEAD = sum(BIT[meter.counter] for meter in METERS if meter.instead)

#: Meters that are seldom the price of their whole: cached tokens are cheaper, and audio is dearer.
_DEARER = frozenset(m.counter for m in METERS if m.part_of and ("audio" in m.counter or m.counter.startswith("cache_read")))


def grains(meter: Meter, rate: Fraction) -> int:
    """A rate in USD for one, in grains; for one microsecond where the meter counts seconds."""
    return round(rate * GRAIN / (1_000_000 if meter.seconds else 1))


Wholes = npt.NDArray[np.int64]


class Tables:
    """One state of the keys: boxes by key, and what is in each cell and each key, a row each."""

    def __init__(self, keys: list[Priced]) -> None:
        cells: list[Cell] = []
        single: list[int] = []
        rows: list[tuple[int, ...]] = []
        for key, priced in enumerate(keys):
            single.append(len(cells) if len(priced.cells) == 1 else -1)
            for cell in priced.cells:
                if len(priced.cells) > 1:
                    b = cell.box
                    rows.append((key, len(cells), b.starts, b.ends, b.minute_from, b.minute_to, b.weekdays, b.over, b.upto))
                cells.append(cell)
        #: Key → its cell, where it has but one; else -1.
        self.single = np.array(single, np.int64)
        self.boxes = pl.DataFrame(rows, schema=_BOXES, orient="row")
        columns = list(zip(*_grains(cells), strict=True)) if cells else [()] * len(METERS)
        #: The rates of each cell by meter, in grains.
        self.rates = {meter.counter: pl.Series(column, dtype=pl.Int128) for meter, column in zip(METERS, columns, strict=True)}
        #: The same in pico-dollars where all of a cell's rates are whole ones; `rough` says where they are not.
        self.rough = np.array([cell.least_seconds > 0 for cell in cells], np.bool_)
        self.whole: dict[str, Wholes] = {}
        #: The highest rate of a meter, in pico-dollars, rounded up.
        self.highest: dict[str, int] = {}
        for meter, column in zip(METERS, columns, strict=True):
            self.highest[meter.counter] = -(-max(column, default=0) // PICO)
            if self.highest[meter.counter]:
                self.whole[meter.counter], rests = _picos(column)
                self.rough |= rests
        #: Which meters have a rate, and which of those that ought to have one of their own have only their whole's.
        self.has = np.array([_bits(cell.rates) if cell.unpriced is None else 0 for cell in cells], np.int64)
        self.inherits = np.array([_bits(cell.inherited & _DEARER) for cell in cells], np.int64)
        self.reason = pl.Series("reason", [cell.unpriced for cell in cells], pl.String)
        self.least_seconds = np.array([cell.least_seconds for cell in cells], np.int64)
        #: Places in `STATES`.
        self.state = np.array([STATES.index(_state(cell)) for cell in cells], np.int8)
        self.sized = np.array([cell.box.over >= 0 or cell.box.upto < UNBOUNDED for cell in cells], np.bool_)
        flags = [(*(p.found.flags if p.found else ()), *cell.flags) for p in keys for cell in p.cells]
        #: The distinct sets of flags, the empty one first, and which of them each cell has.
        self.flag_sets = [(), *sorted(set(flags) - {()})]
        numbers = {held: number for number, held in enumerate(self.flag_sets)}
        self.flag_set = np.array([numbers[held] for held in flags], np.int64)
        found = [priced.found for priced in keys]
        self.priced_as = pl.Series("priced_as", [f"{f.provider}/{f.model}" if f else None for f in found], pl.String)
        self.match = pl.Series("price_match", [f.match if f else None for f in found], pl.String)


class Keys:
    """The keys of one state of books and rules, growing as names are met. Safe to use from several threads.

    `asked` frames have a row for each call and the columns that a name is made of, as telemetry spells them; `named`
    makes a name of such a row.
    """

    def __init__(self, layers: Layers, named: Callable[[dict[str, Any]], Name]) -> None:
        self.layers = layers
        self._named = named
        self._keys: list[Priced] = []
        self._known: dict[object, int] = {}
        self._met: pl.DataFrame | None = None
        self._tables: Tables | None = None
        self._lock = Lock()
        self._contracts = any(rule.layer == "contract" for rule in layers.rules)

    def met(self) -> pl.DataFrame | None:
        """The rows that have been met and are remembered."""
        with self._lock:
            return None if self._met is None else self._met.drop("key", "listed")

    def of(self, asked: pl.DataFrame) -> tuple[Wholes, Wholes, Tables]:
        """The key of each row, its key at list price, and tables in which all of them are."""
        with self._lock:
            if self._met is not None and (self._met.height > MOST_NAMES or len(self._keys) > MOST_KEYS):
                self._keys, self._known, self._met, self._tables = [], {}, None, None
            met = self._met if self._met is not None else self._meet(asked.clear())
            found = _join(asked, met)
            if found["key"].null_count():
                found = _join(asked, self._meet(asked.filter(found["key"].is_null()).unique()))
            if self._tables is None:
                self._tables = Tables(self._keys)
            return found["key"].to_numpy(), found["listed"].to_numpy(), self._tables

    def _meet(self, new: pl.DataFrame) -> pl.DataFrame:
        keys, listed = [], []
        for row in new.iter_rows(named=True):
            name = self._named(row)
            keys.append(self._key(name))
            listed.append(self._key(replace(name, listed=True, belongs=())) if self._contracts else keys[-1])
        met = new.with_columns(pl.Series("key", keys, pl.Int64), pl.Series("listed", listed, pl.Int64))
        self._met = met if self._met is None else pl.concat([self._met, met], rechunk=True)
        return self._met

    def _key(self, name: Name) -> int:
        priced = self.layers.priced(name)
        # However many names lead to a model, it is one key; what nobody knows is one key for each reason.
        reasons = tuple(cell.unpriced for cell in priced.cells)
        what = (priced.found, name.tier, name.provider, priced.rules) if priced.found else reasons
        key = self._known.get(what)
        if key is None:
            key = self._known[what] = len(self._keys)
            self._keys.append(priced)
            self._tables = None
        return key


def _join(asked: pl.DataFrame, met: pl.DataFrame) -> pl.DataFrame:
    return asked.join(met, on=asked.columns, how="left", nulls_equal=True, maintain_order="left")


def _grains(cells: Sequence[Cell]) -> Iterator[tuple[int, ...]]:
    """The rates of each cell in the order of the meters; nothing where there is none."""
    nothing = (0,) * len(METERS)
    # By identity: a part has the very rate of its whole.
    memo: dict[tuple[int, bool], int] = {}
    for cell in cells:
        if cell.unpriced is not None:
            yield nothing
            continue
        row = []
        for meter in METERS:
            rate = cell.rates.get(meter.counter)
            if rate is None:
                row.append(0)
                continue
            known = memo.get((id(rate), meter.seconds))
            if known is None:
                known = memo[id(rate), meter.seconds] = grains(meter, rate)
            row.append(known)
        yield tuple(row)


def _picos(column: Sequence[int]) -> tuple[Wholes, npt.NDArray[np.bool_]]:
    """Grains as whole pico-dollars, nothing where they are not whole or do not fit; and where that is."""
    rests = np.array([rate % PICO != 0 or rate // PICO >= 2**62 for rate in column], np.bool_)
    return np.array([0 if rest else rate // PICO for rate, rest in zip(column, rests.tolist(), strict=True)], np.int64), rests


def _bits(counters: Iterable[str]) -> int:
    return sum(BIT[counter] for counter in counters)


def _state(cell: Cell) -> str:
    if cell.unpriced is not None:
        return "unpriced"
    return "free" if cell.free else "estimated" if cell.estimated else "priced"
