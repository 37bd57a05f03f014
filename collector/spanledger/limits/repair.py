"""Brings shared counters back to what the ledger says: after Redis lost them, was away, or a collector died midway."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow as pa

from spanledger.ledger.frame import frame_of
from spanledger.limits.counters.counters import Amount, Posting
from spanledger.limits.counters.shared import KNOWN_SECONDS, SharedCounters
from spanledger.limits.counting import UNPOSTED_SECONDS, postings
from spanledger.limits.window import SECOND

if TYPE_CHECKING:
    from spanledger.limits.limits import Limits

logger = logging.getLogger(__name__)

RECORDED = (Path(__file__).parent / "sql" / "recorded.sql").read_text()
#: A collector that died may have posted to the ledger and not to the counters; it is back within this time.
LOOK_BACK = timedelta(hours=1)
#: A Redis that was killed or lost power lacks what it had not written yet, a replica what it had not been sent: a second or
#: two, and neither knows of it.
LOST = timedelta(minutes=1)
COUNTING_SECONDS = 300
#: What was missed for longer cannot be posted again: the counters may not know any more which of it they have.
KNOWN_FOR = timedelta(seconds=KNOWN_SECONDS) - timedelta(minutes=30)
#: Entries that are posted again together: an hour may have millions.
AT_ONCE = 20_000


class Repair:
    """One collector's part in keeping shared counters right. Steps are taken by its keeper thread."""

    def __init__(self, counters: SharedCounters, limits: "Limits", history: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._counters = counters
        self._limits = limits
        self._history = history
        self._ready_since = self._server = ""
        self._missed_since: datetime | None = limits.now() - LOOK_BACK

    def missed(self, entries: pl.DataFrame) -> None:
        """A batch is in the ledger and did not reach the counters."""
        oldest = entries["recorded_at"].min() if "recorded_at" in entries.columns else None
        since = oldest if isinstance(oldest, datetime) else self._limits.now() - LOOK_BACK
        self._missed_since = min(since, self._missed_since or since)

    def look_back(self, time: timedelta = LOOK_BACK) -> None:
        """Something else than this collector's loop may have posted lately."""
        since = self._limits.now() - time
        self._missed_since = min(since, self._missed_since or since)

    def step(self) -> None:
        """Do what needs doing now. Raises `CountersAway` when nothing can be done."""
        state = self._counters.state()
        if not state.startswith("ready"):
            if self._counters.begin_counting(COUNTING_SECONDS):
                self._count_anew()
            state = self._counters.state()
            if not state.startswith("ready"):
                return
        if state != self._ready_since:
            if self._ready_since:
                self._hold_again()
            self._ready_since = state
        if (server := self._counters.server()) != self._server:
            if self._server:
                self._counters.expire(self._limits.micros())  # what has ended meanwhile is heard first
                self._hold_again()
            self.look_back(LOST)
            self._server = server
        if self._missed_since is not None:
            self._catch_up()

    def _count_anew(self) -> None:
        logger.warning("the counters in Redis are empty; they are counted anew from the ledger")
        with self._limits.in_step(), self._history() as connection:
            self._limits.count_all(connection)
            since = self._limits.now() - timedelta(seconds=KNOWN_SECONDS)
            known = connection.execute("select entry_id from entries where recorded_at >= $since", {"since": since}).fetchall()
            self._counters.end_counting([entry_id for (entry_id,) in known])
            self._missed_since = None

    def _hold_again(self) -> None:
        """Redis lost holds of calls that are still in flight, all or the last; those whose entry has arrived are left out."""
        mine = self._counters.mine()
        if not mine:
            return
        with self._history() as connection:
            settled = connection.execute(
                "select hold_id from entries where hold_id in (select unnest($ids::varchar[]))", {"ids": mine}
            ).fetchall()
        self._counters.drop(hold_id for (hold_id,) in settled)
        self._counters.restore()
        self._limits.hold_again()

    def _catch_up(self) -> None:
        """Post again what was missed; what the counters know of it already changes nothing."""
        with self._limits.in_step():
            since = self._missed_since
            if since is None:
                return
            anew = self._limits.now() - since > KNOWN_FOR
            if anew:
                self._counters.begin_count([limit.id for limit in self._limits.covering.enabled], self._limits.micros())
            with self._history() as connection:
                if anew:
                    self._limits.count_all(connection)
                else:
                    counted = self._counters.counted()
                    for batch in connection.sql(RECORDED, params={"since": since}).to_arrow_reader(AT_ONCE):
                        entries, now = frame_of(pa.Table.from_batches([batch])), self._limits.micros()
                        found = postings(self._limits.covering, entries, now, each=True)
                        self._counters.post(_uncounted(found, entries, counted), now)
            self._missed_since = None


def _uncounted(found: Sequence[Posting], entries: pl.DataFrame, counted: Mapping[str, int]) -> list[Posting]:
    """Without the amounts of limits that have been counted anew since: these have them already.

    An entry that no limit covered when it came is not known to the counters by its id. Of what was recorded shortly before a
    count, the counters know themselves what it had.
    """
    recorded = dict(zip(entries["entry_id"], entries["recorded_at"].dt.epoch("us"), strict=True))

    def since(posting: Posting) -> list[Amount]:
        at = recorded[posting.entry_id]
        return [amount for amount in posting.amounts if counted.get(amount.place.limit_id, 0) - UNPOSTED_SECONDS * SECOND <= at]

    return [posting._replace(amounts=since(posting)) for posting in found]


def shared_counters(url: str, limits: "Limits", released: Callable[[], None]) -> tuple[SharedCounters, Repair]:
    """Counters at a Redis URL, and what keeps them right. Raises `ValueError` without a ledger to be repaired from."""
    if limits.history is None:
        raise ValueError("shared counters need the ledger's history, to be repaired from")
    shared = SharedCounters(url, released=released, now=limits.micros)
    return shared, Repair(shared, limits, limits.history)
