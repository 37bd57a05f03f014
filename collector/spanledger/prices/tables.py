"""Cells as columns of whole numbers: what a batch is priced with."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.prices.cell import UNBOUNDED, Cell
from spanledger.prices.layers import Priced
from spanledger.prices.meters import HOUR, METERS, Meter

Wholes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Rates are whole numbers of this part of a dollar: a 3,600th of 10⁻²⁴, in which both a price per million tokens
#: with eighteen decimals and a price per hour that is charged by the microsecond are whole.
GRAIN = HOUR * 10**24
#: Grains in a pico-dollar, the last digit of the ledger's money.
PICO = GRAIN // 10**12

#: States by number, in the words of the ledger. A cell has one of the first four.
STATES = ("priced", "estimated", "free", "unpriced", "reported")

#: Sets of meters are sums of these.
BIT: dict[str, int] = {meter.counter: 1 << place for place, meter in enumerate(METERS)}
PLACE: dict[str, int] = {meter.counter: place for place, meter in enumerate(METERS)}

#: Tokens, and what is charged in place of them: where one of the two is charged, the other needs no rate.
TOKENS = sum(BIT[meter.counter] for meter in METERS if meter.counter.endswith("_tokens"))
INSTEAD = sum(BIT[meter.counter] for meter in METERS if meter.instead)

#: Meters that are seldom the price of their whole: cached tokens are cheaper, and audio is dearer.
_DEARER = frozenset(m.counter for m in METERS if m.part_of and ("audio" in m.counter or m.counter.startswith("cache_read")))

_BOXES = ("key", "cell", "starts", "ends", "minute_from", "minute_to", "weekdays", "over", "upto")


class _Compiled(NamedTuple):
    """A cell in numbers, by meter where there are several."""

    grains: tuple[int, ...]
    picos: tuple[int, ...]  # nothing in a rough cell
    rough: bool  # whether any rate is no whole pico-dollar for one, or is none that 64 bits hold
    has: int
    inherits: int
    state: int


class Tables:
    """One state of the keys: boxes by key, and what is in each cell and each key, a row each."""

    def __init__(self, keys: Sequence[Priced], before: "Tables | None" = None) -> None:
        """Cells that the tables `before` had are taken from there: a book has some 8,000, and a change concerns few."""
        #: Key → its cell, where it has but one; else -1.
        counts = _wholes(len(priced.cells) for priced in keys)
        firsts = np.cumsum(counts) - counts
        self.single: Wholes = np.where(counts > 1, -1, firsts)
        boxes = [
            (key, first + place, b.starts, b.ends, b.minute_from, b.minute_to, b.weekdays, b.over, b.upto)
            for key, (first, priced) in enumerate(zip(firsts.tolist(), keys, strict=True)) if len(priced.cells) > 1
            for place, b in enumerate(cell.box for cell in priced.cells)
        ]  # fmt: skip
        self.boxes = pl.DataFrame(boxes, schema=dict.fromkeys(_BOXES, pl.Int64), orient="row")
        held = [(priced, cell) for priced in keys for cell in priced.cells]
        #: Cell → what there is without a default price, at the end; itself where it is none.
        self.without_default: Wholes = np.arange(len(held))
        for at, (priced, cell) in enumerate(tuple(held)):
            if cell.without_default is not None:
                self.without_default[at] = len(held)
                held.append((priced, cell.without_default))
        cells = [cell for _, cell in held]
        had = before._known if before else {}
        # By identity, which is safe as long as the cell is kept beside: hashing one takes as long as compiling it.
        self._known: dict[int, tuple[Cell, _Compiled]] = {
            id(cell): had.get(id(cell)) or (cell, _compiled(cell)) for cell in cells
        }  # fmt: skip
        self._rows = [self._known[id(cell)][1] for cell in cells]
        #: Rates in pico-dollars, a row for each meter by `PLACE`; nothing in `rough` cells.
        self.picos = np.array([row.picos for row in self._rows], np.int64).reshape(-1, len(METERS)).T.copy()
        self.rough: Flags = np.array([row.rough for row in self._rows], np.bool_)
        #: The highest rate of each meter, in pico-dollars, rounded up.
        self.highest = [int(most) for most in self.picos.max(1, initial=0)]
        for row in self._rows:
            if row.rough:
                self.highest = [max(most, -(-rate // PICO)) for most, rate in zip(self.highest, row.grains, strict=True)]
        #: Which meters have a rate, and which of those that ought to have one of their own have only their whole's.
        self.has = _wholes(row.has for row in self._rows)
        self.inherits = _wholes(row.inherits for row in self._rows)
        #: Meters that are charged whether or not a call counts them.
        self.charged = _wholes(_bits(cell.charged) for cell in cells)
        #: Places in `STATES`.
        self.state = _wholes(row.state for row in self._rows)
        self.reason = pl.Series([cell.unpriced for cell in cells], dtype=pl.String)
        self.least_seconds = _wholes(cell.least_seconds for cell in cells)
        self.sized: Flags = np.array([cell.box.over >= 0 or cell.box.upto < UNBOUNDED for cell in cells], np.bool_)
        found = [(priced.found_in(cell), cell) for priced, cell in held]
        flags = [(*(f.flags if f else ()), *cell.flags) for f, cell in found]
        #: The distinct sets of flags, the empty one first, and which of them each cell has.
        self.flag_sets = [(), *sorted(set(flags) - {()})]
        numbers = {held: number for number, held in enumerate(self.flag_sets)}
        self.flag_set = _wholes(numbers[held] for held in flags)
        #: What each cell's name is, how it was recognised, and the rules that had a part in it.
        self.priced_as = pl.Series("priced_as", [f.name if f else None for f, _ in found], pl.String)
        self.match = pl.Series("price_match", [f.match if f else None for f, _ in found], pl.String)
        self.rules = [cell.rules for _, cell in found]

    @cached_property
    def grains(self) -> Mapping[str, pl.Series]:
        """Rates of every cell by meter, in grains: for what pico-dollars cannot say."""
        columns = zip(*(row.grains for row in self._rows), strict=True)
        return {meter.counter: pl.Series(column, dtype=pl.Int128) for meter, column in zip(METERS, columns, strict=True)}


def grains(meter: Meter, rate: Fraction) -> int:
    """A rate in USD for one, in grains, rounded half to even; for one microsecond where the meter counts seconds."""
    numerator, denominator = rate.numerator * GRAIN, rate.denominator * (1_000_000 if meter.seconds else 1)
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2))


def _compiled(cell: Cell) -> _Compiled:
    if cell.unpriced is not None:
        return _Compiled(_NOTHING, _NOTHING, False, 0, 0, STATES.index("unpriced"))
    rates = list(_NOTHING)
    # By identity: a part has the very rate of its whole.
    memo: dict[tuple[int, bool], int] = {}
    for counter, rate in cell.rates.items():
        place = PLACE[counter]
        what = id(rate), METERS[place].seconds
        if what not in memo:
            memo[what] = grains(METERS[place], rate)
        rates[place] = memo[what]
    rough = cell.least_seconds > 0 or any(rate % PICO or rate >= PICO << 62 for rate in memo.values())
    return _Compiled(
        grains=tuple(rates),
        picos=_NOTHING if rough else tuple([rate and rate // PICO for rate in rates]),
        rough=rough,
        has=_bits(cell.rates),
        inherits=_bits(cell.inherited & _DEARER),
        state=STATES.index("free" if cell.free else "estimated" if cell.estimated else "priced"),
    )


_NOTHING = (0,) * len(METERS)


def _bits(counters: Iterable[str]) -> int:
    return sum(BIT[counter] for counter in counters)


def _wholes(numbers: Iterable[int]) -> Wholes:
    return np.fromiter(numbers, np.int64)
