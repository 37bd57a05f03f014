"""Counters in memory: what is used and held in every bucket, and the one atomic step that tests and holds.

Everything is whole units, so nothing is ever rounded. One lock guards it all: a step takes microseconds, and two
checks can never both take the last of a limit. Nothing here knows what a limit covers or what it costs.
"""

import heapq
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from spanledger.limits.check import Check
from spanledger.limits.counters.buckets import Bucket, Buckets
from spanledger.limits.counters.counters import Amount, Demand, Hold, Key, Part, Place, Posting, Reading, Snapshot
from spanledger.limits.counters.leases import Leases
from spanledger.limits.settling import parts_anew


class Log(Protocol):
    """Where holds are written down."""

    def added(self, hold: Hold) -> None: ...
    def gone(self, hold_id: str) -> None: ...
    @property
    def wants_rewriting(self) -> bool: ...
    def rewrite(self, live: Iterable[Hold]) -> None: ...


class _Held(Struct, gc=False):
    """A hold with its buckets: looking them up again when it ends would be a tenth of a check."""

    hold: Hold
    buckets: tuple[Bucket, ...]


class MemoryCounters:
    """Counters of one process. `released` is called, outside the lock, whenever something that was held became free."""

    @property
    def remote(self) -> bool:
        return False

    def __init__(self, released: Callable[[], None] = lambda: None, log: Log | None = None) -> None:
        self._lock = threading.Lock()
        self._buckets = Buckets()
        self._holds: dict[str, _Held] = {}
        self._leases = Leases()
        self._released = released
        self._log = log
        self.leaked = 0  # holds whose call never arrived

    # — the step —

    def hold(self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check) -> list[Reading]:
        """Test all demands; when every one that refuses passes, hold them all. Without a `hold_id` only test."""
        readings: list[Reading] = []
        buckets: list[Bucket] = []
        parts: list[Part] = []
        passes = True
        with self._lock:
            freed = self._leases.first <= now and self._expire(now)
            for demand in demands:
                place, size, worst = demand.place, demand.size, demand.worst
                bucket = self._buckets.asked(place)
                used = self._buckets.used(bucket, place, now) if place.width else bucket.used
                if place.length and not place.width:
                    bucket.touched = now
                fits = used + bucket.held + size <= demand.cap and used + bucket.worst + worst <= demand.bound
                passes = passes and (fits or not demand.refuses)
                readings.append(Reading(used, bucket.held, bucket.worst, fits))
                buckets.append(bucket)
                parts.append(Part(place, size, worst))
            if passes and hold_id is not None and parts:
                self._add(Hold(hold_id, now, expires_at, tuple(parts), about), tuple(buckets))
        if freed:
            self._released()
        return readings

    async def hold_soon(
        self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check
    ) -> list[Reading]:
        """The same: nothing is waited for."""
        return self.hold(now, demands, hold_id, expires_at, about)

    def release(self, hold_id: str) -> bool:
        """Set free what a hold holds. False when there is no such hold (any more)."""
        with self._lock:
            found = self._take(hold_id) is not None
        if found:
            self._released()
        return found

    def settle(self, hold_id: str, parts: tuple[Part, ...], until: int) -> bool:
        """Replace what a hold holds by what its call used, until its entry arrives; from `until` on it counts as used."""
        with self._lock:
            hold = self._take(hold_id)
            if hold is None:
                return False
            self._add(Hold(hold_id, hold.made_at, until, parts, hold.about, settled=True))
        self._released()
        return True

    def extend(self, hold_id: str, expires_at: int) -> bool:
        """Lengthen a lease. False when there is no such hold (any more)."""
        with self._lock:
            hold = self._hold(hold_id)
            if hold is None or hold.settled:
                return False
            self._leases.remove(hold_id, hold.expires_at)
            hold.expires_at = expires_at
            self._leases.add(hold_id, expires_at)
            if self._log is not None:
                self._log.added(hold)
            return True

    def post(self, postings: Iterable[Posting], now: int) -> None:
        """Add what is used, and drop the holds of the calls that these are, in one step."""
        with self._lock:
            freed = self._expire(now)
            for posting in postings:
                if posting.hold_id is not None:
                    freed = self._take(posting.hold_id) is not None or freed
                for place, at, units in posting.amounts:
                    self._buckets.use(place, at, units)
            self._buckets.sweep(now)
        if freed:
            self._released()

    # — reading —

    def read(self, places: Sequence[Place], now: int) -> list[Reading]:
        """Buckets as they stand."""
        with self._lock:
            self._expire(now)
            readings = []
            for place in places:
                bucket = self._buckets.find(place)
                if bucket is None:
                    readings.append(Reading(0, 0, 0, True))
                else:
                    readings.append(Reading(self._buckets.used(bucket, place, now), bucket.held, bucket.worst, True))
            return readings

    async def read_soon(self, places: Sequence[Place], now: int) -> list[Reading]:
        """The same: nothing is waited for."""
        return self.read(places, now)

    def keys(self, limit_id: str, start: int, count: int) -> tuple[list[Key], int]:
        """The keys of the fullest live buckets of a limit in the window that began at `start`, and how many there are."""
        with self._lock:
            buckets = list(self._buckets.of(limit_id, start).items())
        # Outside the lock: among a million this takes a while, and a bucket that moves meanwhile does no harm here.
        fullest = heapq.nlargest(count, buckets, key=lambda one: one[1].used + one[1].held)
        return [key for key, _ in fullest], len(buckets)

    def slots(self, place: Place, now: int) -> list[tuple[int, int]]:
        """(slot, amount) of a rolling bucket that still count, oldest first."""
        with self._lock:
            bucket = self._buckets.find(place)
            if bucket is None:
                return []
            self._buckets.used(bucket, place, now)
            return bucket.pairs()

    async def slots_soon(self, place: Place, now: int) -> list[tuple[int, int]]:
        """The same: nothing is waited for."""
        return self.slots(place, now)

    def find(self, hold_id: str) -> Hold | None:
        """A live hold."""
        with self._lock:
            return self._hold(hold_id)

    def count(self, limit_ids: Collection[str]) -> tuple[int, int]:
        """(live buckets, live holds)."""
        with self._lock:
            return len(self._buckets), len(self._holds)

    # — upkeep —

    def expire(self, now: int) -> None:
        """Release what has outlived its lease."""
        with self._lock:
            freed = self._expire(now)
        if freed:
            self._released()

    def restore(self, holds: Iterable[Hold]) -> None:
        """Hold again what was held before a restart."""
        with self._lock:
            log, self._log = self._log, None
            for hold in holds:
                if hold.id not in self._holds:
                    self._add(hold)
            self._log = log

    def hold_anew(
        self,
        limit_ids: Collection[str],
        parts_of: Callable[[Hold], Sequence[Part]],
        but: Collection[str] = (),
        *,
        own: bool = False,
    ) -> set[str]:
        """Let these limits hold what the calls in flight hold of them by now, `but` for some; gives the holds looked at."""
        with self._lock:
            holds = [held.hold for hold_id, held in self._holds.items() if hold_id not in but]
        for hold in holds:
            parts = parts_anew(hold, limit_ids, parts_of(hold))
            if parts == hold.parts:
                continue
            with self._lock:
                held = self._holds.get(hold.id)
                if held is not None and held.hold is hold:  # else it ended meanwhile, or was settled
                    self._take(hold.id)
                    self._add(Hold(hold.id, hold.made_at, hold.expires_at, parts, hold.about, hold.settled))
        return {hold.id for hold in holds}

    def tidy_log(self) -> None:
        """Write the log anew with the live holds alone, when most of it is about others or it lacks some."""
        if self._log is not None and self._log.wants_rewriting:
            with self._lock, suppress(OSError):  # a full disk: tried again at the next call
                self._log.rewrite(held.hold for held in self._holds.values())

    def forget(self, limit_id: str) -> None:
        """Drop a limit's buckets, whatever they hold."""
        with self._lock:
            self._buckets.forget(limit_id)

    def begin_count(self, limit_ids: Sequence[str], now: int) -> None:
        """Nobody else posts here."""

    def replace(self, limit_ids: Sequence[str], amounts: Iterable[Amount], now: int, snapshot: Snapshot) -> None:
        """Count these limits anew: what is used is replaced, what is held stays."""
        counted = Buckets()
        for place, at, units in amounts:
            counted.use(place, at, units)
        with self._lock:
            self._buckets.replace(frozenset(limit_ids), counted)

    async def leave(self) -> None:
        """An event loop has nothing open here."""

    def close(self) -> None:
        """Nothing is kept open."""

    # — inside the lock —

    def _hold(self, hold_id: str) -> Hold | None:
        held = self._holds.get(hold_id)
        return None if held is None else held.hold

    def _add(self, hold: Hold, buckets: tuple[Bucket, ...] | None = None) -> None:
        if buckets is None:
            buckets = tuple([self._buckets.at(part.place) for part in hold.parts])
        self._holds[hold.id] = _Held(hold, buckets)
        self._leases.add(hold.id, hold.expires_at)
        for bucket, part in zip(buckets, hold.parts, strict=True):
            bucket.held += part.size
            bucket.worst += part.worst
        if self._log is not None:
            self._log.added(hold)

    def _take(self, hold_id: str) -> Hold | None:
        held = self._holds.pop(hold_id, None)
        if held is None:
            return None
        hold = held.hold
        self._leases.remove(hold_id, hold.expires_at)
        for bucket, part in zip(held.buckets, hold.parts, strict=True):
            bucket.held -= part.size
            bucket.worst -= part.worst
        if self._log is not None:
            self._log.gone(hold_id)
        return hold

    def _expire(self, now: int) -> bool:
        due = self._leases.due(now)
        for _, hold_id in due:
            hold = self._take(hold_id)
            if hold is None:
                continue
            if not hold.settled:
                self.leaked += 1
                continue
            # Its entry never came, but someone said what the call used: that stays counted.
            for part in hold.parts:
                self._buckets.use(part.place, hold.made_at, part.size)
        return bool(due)
