"""When the ledger learns of entries: when their commit can be seen, and no earlier.

A moment before that would change what was asked `as_known_on` it, once the commit is there. The moment is written into the
entries, so it is set ahead by what writing them takes, and set anew when they have to be written again.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

logger = logging.getLogger(__name__)

#: Nobody waits longer for the moment of what is written already.
_PATIENCE = timedelta(seconds=1)
#: A commit that is later than its moment by more is told of: nobody asks a colleague what was known within the same second.
_NOTABLE = timedelta(seconds=1)
#: No commit is waited for longer by the moments of those to come.
_MOST_SLOWER = timedelta(seconds=30)
#: What a commit, the file of a day, and an entry take to be written at most: 600,000 took 6.7 µs each on a busy machine.
_COMMIT, _FILE, _ENTRY = timedelta(milliseconds=20), timedelta(milliseconds=10), timedelta(microseconds=8)


@dataclass(frozen=True, slots=True)
class Dated:
    """Entries that the ledger learns of at a moment that is to come."""

    entries: pa.Table
    at: datetime
    ahead: timedelta

    @classmethod
    def of(cls, entries: pa.Table, now: datetime, slower: timedelta = timedelta(0)) -> "Dated":
        """The entries, about to be posted, dated for when they can be seen; `slower` is what writing takes more than usual."""
        ahead = _COMMIT + _FILE * pc.count_distinct(entries.column("day")).as_py() + _ENTRY * len(entries) + slower
        at = now + ahead
        place = entries.schema.get_field_index("recorded_at")
        field = entries.schema.field(place)
        moments = pa.repeat(pa.scalar(at, field.type), len(entries))
        return cls(entries.set_column(place, field, moments), at, ahead)

    def late(self, now: datetime) -> timedelta:
        """How long after its moment the commit is there; what is notable is logged."""
        late = max(now - self.at, timedelta(0))
        if late > _NOTABLE:
            logger.warning(
                "%d entries were written %.1f s later than they are dated (%s): what was asked as_known_on a moment between is "
                "answered otherwise now", len(self.entries), late.total_seconds(), self.at.isoformat(),
            )  # fmt: skip
        return late

    def wait(self, clock: Callable[[], datetime]) -> None:
        """After the commit: until its moment has come, so that who asks what is known now is told of it."""
        now = clock()
        self.late(now)
        time.sleep(max(timedelta(0), min(self.at - now, self.ahead, _PATIENCE)).total_seconds())


class Dating:
    """Dates one batch after the other, ahead by what writing has taken lately."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._slower = timedelta(0)

    def date(self, entries: pa.Table) -> Dated:
        """The entries, about to be posted, dated for when they can be seen."""
        return Dated.of(entries, self._clock(), self._slower)

    def written(self, dated: Dated) -> None:
        """After the commit: learn from it."""
        now = self._clock()
        dated.late(now)
        took_more = self._slower + (now - dated.at)
        self._slower = min(max(self._slower * 0.9, took_more * 1.5), _MOST_SLOWER)
