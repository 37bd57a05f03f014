"""What a book of prices is to the rest: a name and a hash, a way to find a model, and the cells of what it found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal, Protocol

#: How a name was matched: as the book spells it; by a listed other name; because it begins, ends or reads like
#: one; by a rule of the user; or because another provider's price stands in.
Match = Literal["exact", "alias", "prefix", "suffix", "contains", "pattern", "rule", "fallback", "default"]

#: The tier that served a call. `standard` is what a provider calls default, standard or on demand.
STANDARD = "standard"
BATCH = "batch"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Ends of time in microseconds since 1970: years 1 and 9999 fit a `datetime`, and so does every entry.
BEGINNING = -(10**18)
FOREVER = 10**18
UNBOUNDED = 2**62
ALL_WEEK = 0b1111111
DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A box of time, hours and size inside which a cost is linear in the meters.

    `rates` is USD for one of each counter, exactly. A counter that is absent has no price here.
    """

    starts: int = BEGINNING  # microseconds since 1970, inclusive
    ends: int = FOREVER  # exclusive
    minute_from: int = 0  # of the UTC day, inclusive
    minute_to: int = DAY_MINUTES  # exclusive
    weekdays: int = ALL_WEEK  # bit 0 is Monday
    over: int = -1  # input tokens, exclusive
    upto: int = UNBOUNDED  # inclusive
    rates: Mapping[str, Fraction] = field(default_factory=dict)
    #: Counters that are charged at the rate of what they are part of, for want of their own.
    inherited: frozenset[str] = frozenset()
    #: Why there is no price in this box, where there is none.
    unpriced: str | None = None
    flags: tuple[str, ...] = ()
    estimated: bool = False
    free: bool = False
    #: Least number of audio seconds that is charged for one call.
    least_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model in a book, and how its name was recognised."""

    provider: str
    model: str
    match: Match
    flags: tuple[str, ...] = ()
    #: How much of the name the book did not know: `-cyber` in `gemini-3.8-flash-cyber`.
    rest: str = ""


class Book(Protocol):
    """All rates known at a moment."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    def find(self, provider: str, model: str) -> Found | None:
        """The model called `model` at `provider`, both as `names.py` spells them; None when unknown."""

    def cells(self, found: Found, tier: str) -> tuple[Cell, ...]:
        """The boxes of a model under a tier; they cover all time and all sizes, and none overlaps another."""


def microseconds(at: datetime) -> int:
    """Microseconds since 1970 of an aware moment, exactly."""
    return (at - EPOCH) // timedelta(microseconds=1)
