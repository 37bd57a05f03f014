"""A cell: a box of time, hours, weekdays and size inside which a cost is linear in the meters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from spanledger.prices.books.found import Found
from spanledger.prices.meters import METERS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
#: Ends of time in microseconds since 1970, beyond what a `datetime` can say.
BEGINNING, FOREVER = -(10**18), 10**18
UNBOUNDED = 2**62
ALL_WEEK = 0b1111111
DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a rate is in force. Times are UTC; `over` is exclusive and `upto` inclusive, in input tokens."""

    starts: int = BEGINNING  # microseconds since 1970, inclusive
    ends: int = FOREVER  # exclusive
    minute_from: int = 0  # of the day, inclusive
    minute_to: int = DAY_MINUTES  # exclusive
    weekdays: int = ALL_WEEK  # bit 0 is Monday
    over: int = -1
    upto: int = UNBOUNDED

    def __post_init__(self) -> None:
        if self.starts >= self.ends or self.minute_from >= self.minute_to or self.over >= self.upto or not self.weekdays:
            raise ValueError("a box must hold something")

    def holds(self, at: int, size: int) -> bool:
        """Whether a call at a moment (microseconds since 1970) with that many input tokens is inside."""
        minutes = at // 60_000_000
        return (
            self.starts <= at < self.ends
            and self.over < size <= self.upto
            and self.minute_from <= minutes % DAY_MINUTES < self.minute_to
            and bool(self.weekdays >> ((minutes // DAY_MINUTES + 3) % 7) & 1)  # 1970 began on a Thursday
        )

    def inside(self, other: "Box") -> "Box | None":
        """What both have in common; None when nothing."""
        starts, ends = max(self.starts, other.starts), min(self.ends, other.ends)
        minute_from, minute_to = max(self.minute_from, other.minute_from), min(self.minute_to, other.minute_to)
        over, upto = max(self.over, other.over), min(self.upto, other.upto)
        weekdays = self.weekdays & other.weekdays
        if starts >= ends or minute_from >= minute_to or over >= upto or not weekdays:
            return None
        return Box(
            starts=starts, ends=ends, minute_from=minute_from, minute_to=minute_to, weekdays=weekdays, over=over, upto=upto
        )

    def outside(self, other: "Box") -> Iterator["Box"]:
        """The parts of this box that are not in `other`, disjoint."""
        common = self.inside(other)
        if common is None:
            yield self
            return
        rest = self
        if rest.starts < common.starts:
            yield replace(rest, ends=common.starts)
        if common.ends < rest.ends:
            yield replace(rest, starts=common.ends)
        rest = replace(rest, starts=common.starts, ends=common.ends)
        if rest.over < common.over:
            yield replace(rest, upto=common.over)
        if common.upto < rest.upto:
            yield replace(rest, over=common.upto)
        rest = replace(rest, over=common.over, upto=common.upto)
        if rest.minute_from < common.minute_from:
            yield replace(rest, minute_to=common.minute_from)
        if common.minute_to < rest.minute_to:
            yield replace(rest, minute_from=common.minute_to)
        if rest.weekdays & ~common.weekdays:
            yield replace(
                rest, minute_from=common.minute_from, minute_to=common.minute_to, weekdays=rest.weekdays & ~common.weekdays
            )


EVERYWHERE = Box()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What calls in a box cost.

    `rates` is USD for one of each counter, exactly; a counter that is absent has no price here. `unpriced` says why
    there is none at all.
    """

    box: Box = EVERYWHERE
    rates: Mapping[str, Fraction] = field(default_factory=dict)
    #: Counters charged at the rate of what they are part of, for want of a rate of their own.
    inherited: frozenset[str] = frozenset()
    #: Counters that each call here is charged for, whether or not it counts them: without a count, that part has no price.
    charged: frozenset[str] = frozenset()
    unpriced: str | None = None
    flags: tuple[str, ...] = ()
    estimated: bool = False
    free: bool = False
    #: Least number of audio seconds that is charged for one call.
    least_seconds: int = 0
    #: Ids of the rules that had a part in it, the lowest rank first.
    rules: tuple[str, ...] = ()
    #: What a rule makes of the name here; None where it is what the books say.
    named: Found | None = None
    #: Of a default price: what there would be without it.
    without_default: "Cell | None" = None

    def own_rates(self) -> dict[str, Fraction]:
        """The rates that were given, without those that parts have from their wholes."""
        return {counter: rate for counter, rate in self.rates.items() if counter not in self.inherited}

    def charging(self, counter: str) -> "Cell":
        """This cell where each call is charged for something that it may not count, which is never free."""
        if self.unpriced is not None:
            return self
        rates = {other: rate for other, rate in self.rates.items() if other != counter or not self.free}
        return replace(self, rates=rates, charged=self.charged | {counter}, free=False)

    def at_rates(self, rates: Mapping[str, Fraction]) -> "Cell":
        """This cell with other rates, in which a part without a rate of its own has that of its narrowest priced whole."""
        full, inherited = dict(rates), set()
        for meter in METERS:
            if meter.counter in full or meter.own_rate:
                continue
            # Wholes come before their parts in the table. A part of two takes the first that has a rate of its own.
            whole = next((w for w in meter.part_of if w in rates), None) or next((w for w in meter.part_of if w in full), None)
            if whole is not None:
                full[meter.counter] = full[whole]
                inherited.add(meter.counter)
        return replace(self, rates=full, inherited=frozenset(inherited), unpriced=None)


def times(rates: Mapping[str, Fraction], factor: Fraction) -> dict[str, Fraction]:
    """Rates multiplied. Where several counters have the very same rate, as parts have that of their whole, so they do after."""
    products: dict[int, Fraction] = {}
    for rate in rates.values():
        if id(rate) not in products:
            products[id(rate)] = rate * factor
    return {counter: products[id(rate)] for counter, rate in rates.items()}


def unpriced_everywhere(reason: str, *flags: str) -> tuple[Cell, ...]:
    return (Cell(unpriced=reason, flags=flags),)


def overlay(below: Iterable[Cell], above: Sequence[Cell]) -> tuple[Cell, ...]:
    """`above` where it has a price, `below` elsewhere."""
    cells = list(below)
    for top in above:
        if top.unpriced is not None:
            continue
        cells = [replace(cell, box=rest) for cell in cells for rest in cell.box.outside(top.box)] + [top]
    return tuple(cells)


def microseconds(at: datetime) -> int:
    """Microseconds since 1970 of an aware moment, exactly."""
    return (at - EPOCH) // MICROSECOND


def moment(at: int) -> datetime:
    """The moment of a number of microseconds since 1970."""
    return EPOCH + at * MICROSECOND
