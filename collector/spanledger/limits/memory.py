"""Counters in memory: what is used and held in every bucket, and the one atomic step that tests and holds.

Everything is whole units, so nothing is ever rounded. One lock guards it all: a step takes microseconds, and two
checks can never both take the last of a limit. Nothing here knows what a limit covers or what it costs.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from spanledger.limits.check import Check
from spanledger.limits.counters import Amount, Demand, Hold, Key, Place, Posting, Reading

SWEEP_US = 60_000_000
KEPT_US = 3_600_000_000
#: Rolling buckets looked at in one sweep: half a millisecond, so that no check waits long for it.
SWEPT = 2_000


@dataclass(slots=True)
class Bucket:
    used: int = 0
    held: int = 0
    worst: int = 0
    slots: dict[int, int] | None = None
    oldest: int = 0


class Log(Protocol):
    """Where holds are written down."""

    def added(self, hold: Hold) -> None: ...
    def gone(self, hold_id: str) -> None: ...
    @property
    def wants_rewriting(self) -> bool: ...
    def rewrite(self, live: Iterable[Hold]) -> None: ...


class MemoryCounters:
    """Counters of one process. `released` is called, outside the lock, whenever something that was held became free."""

    @property
    def remote(self) -> bool:
        return False

    def __init__(self, released: Callable[[], None] = lambda: None, log: Log | None = None) -> None:
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, int], dict[Key, Bucket]] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._swept_at = 0
        self._rolling: dict[tuple[str, int], Place] = {}
        self._stale: Iterator[Key] = iter(())
        self._sweeping: tuple[str, int] = ("", 0)
        # Each with its buckets: looking them up again when it ends would be a tenth of a check.
        self._holds: dict[str, tuple[Hold, Sequence[Bucket]]] = {}
        self._leases: list[tuple[int, str]] = []
        self._released = released
        self._log = log
        self.leaked = 0  # holds whose call never arrived

    # — the step —

    def hold(self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check) -> list[Reading]:
        """Test all demands; when every one that refuses passes, hold them all. Without a `hold_id` only test."""
        with self._lock:
            freed = self._expire(now)
            readings = []
            buckets = []
            passes = True
            for place, size, worst, cap, bound, refuses in demands:
                bucket = self._bucket(place)
                buckets.append(bucket)
                used = self._used(bucket, place, now) if place.width else bucket.used
                fits = used + bucket.held + size <= cap and used + bucket.worst + worst <= bound
                readings.append(Reading(used, bucket.held, bucket.worst, fits))
                passes = passes and (fits or not refuses)
            if passes and hold_id is not None and demands:
                self._add(Hold(hold_id, now, expires_at, tuple([d[:3] for d in demands]), about), buckets)
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

    def settle(self, hold_id: str, parts: tuple[tuple[Place, int, int], ...], until: int) -> bool:
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
            hold.expires_at = expires_at
            heapq.heappush(self._leases, (expires_at, hold_id))
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
                    self._use(place, at, units)
            self._sweep(now)
        if freed:
            self._released()

    # — reading —

    def read(self, places: Sequence[Place], now: int) -> list[Reading]:
        """Buckets as they stand."""
        with self._lock:
            self._expire(now)
            readings = []
            for place in places:
                bucket = self._windows.get((place.limit_id, place.start), {}).get(place.key)
                if bucket is None:
                    readings.append(Reading(0, 0, 0, True))
                else:
                    readings.append(Reading(self._used(bucket, place, now), bucket.held, bucket.worst, True))
            return readings

    async def read_soon(self, places: Sequence[Place], now: int) -> list[Reading]:
        """The same: nothing is waited for."""
        return self.read(places, now)

    def keys(self, limit_id: str, start: int, count: int) -> tuple[list[Key], int]:
        """The keys of the fullest live buckets of a limit in the window that began at `start`, and how many there are."""
        with self._lock:
            buckets = list(self._windows.get((limit_id, start), {}).items())
        # Outside the lock: among a million this takes a while, and a bucket that moves meanwhile does no harm here.
        fullest = heapq.nlargest(count, buckets, key=lambda one: one[1].used + one[1].held)
        return [key for key, _ in fullest], len(buckets)

    def slots(self, place: Place, now: int) -> list[tuple[int, int]]:
        """(slot, amount) of a rolling bucket that still count, oldest first."""
        with self._lock:
            bucket = self._windows.get((place.limit_id, place.start), {}).get(place.key)
            if bucket is None or bucket.slots is None:
                return []
            self._used(bucket, place, now)
            return sorted(bucket.slots.items())

    async def slots_soon(self, place: Place, now: int) -> list[tuple[int, int]]:
        """The same: nothing is waited for."""
        return self.slots(place, now)

    def find(self, hold_id: str) -> Hold | None:
        """A live hold."""
        with self._lock:
            return self._hold(hold_id)

    def count(self) -> tuple[int, int]:
        """(live buckets, live holds)."""
        with self._lock:
            return sum(map(len, self._windows.values())), len(self._holds)

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

    def tidy_log(self) -> None:
        """Write the log anew with the live holds alone, when most of it is about others."""
        if self._log is not None and self._log.wants_rewriting:
            with self._lock:
                self._log.rewrite(hold for hold, _ in self._holds.values())

    def forget(self, limit_id: str) -> None:
        """Drop a limit's buckets, whatever they hold."""
        with self._lock:
            for window in [w for w in self._windows if w[0] == limit_id]:
                del self._windows[window], self._ends[window]
                self._rolling.pop(window, None)

    def replace(self, limit_id: str, amounts: Iterable[Amount], now: int) -> None:
        """Count a limit anew: what is used is replaced, what is held stays."""
        with self._lock:
            for window, buckets in self._windows.items():
                if window[0] == limit_id:
                    for bucket in buckets.values():
                        bucket.used = 0
                        bucket.slots = None
            for place, at, units in amounts:
                self._use(place, at, units)

    async def leave(self) -> None:
        """An event loop has nothing open here."""

    def close(self) -> None:
        """Nothing is kept open."""

    # — inside the lock —

    def _bucket(self, place: Place) -> Bucket:
        window = self._windows.get((place.limit_id, place.start))
        if window is None:
            window = self._windows[(place.limit_id, place.start)] = {}
            self._ends[(place.limit_id, place.start)] = place.end
            if place.width:
                self._rolling[(place.limit_id, place.start)] = place
        bucket = window.get(place.key)
        if bucket is None:
            bucket = window[place.key] = Bucket()
        return bucket

    def _used(self, bucket: Bucket, place: Place, now: int) -> int:
        if place.width and bucket.slots is not None:
            oldest = (now - place.length) // place.width
            if oldest > bucket.oldest:
                for slot in [s for s in bucket.slots if s < oldest]:
                    bucket.used -= bucket.slots.pop(slot)
                bucket.oldest = oldest
        return bucket.used

    def _use(self, place: Place, at: int, units: int) -> None:
        bucket = self._bucket(place)
        if place.width:
            slot = at // place.width
            if bucket.slots is None:
                bucket.slots = {}
            elif slot < bucket.oldest:
                return
            bucket.slots[slot] = bucket.slots.get(slot, 0) + units
        bucket.used += units

    def _hold(self, hold_id: str) -> Hold | None:
        held = self._holds.get(hold_id)
        return None if held is None else held[0]

    def _add(self, hold: Hold, buckets: Sequence[Bucket] | None = None) -> None:
        if buckets is None:
            buckets = [self._bucket(part[0]) for part in hold.parts]
        self._holds[hold.id] = hold, buckets
        heapq.heappush(self._leases, (hold.expires_at, hold.id))
        for bucket, (_, size, worst) in zip(buckets, hold.parts, strict=True):
            bucket.held += size
            bucket.worst += worst
        if self._log is not None:
            self._log.added(hold)

    def _take(self, hold_id: str) -> Hold | None:
        held = self._holds.pop(hold_id, None)
        if held is None:
            return None
        hold, buckets = held
        for bucket, (_, size, worst) in zip(buckets, hold.parts, strict=True):
            bucket.held -= size
            bucket.worst -= worst
        if self._log is not None:
            self._log.gone(hold_id)
        return hold

    def _expire(self, now: int) -> bool:
        freed = False
        while self._leases and self._leases[0][0] <= now:
            expires_at, hold_id = heapq.heappop(self._leases)
            hold = self._hold(hold_id)
            if hold is None or hold.expires_at != expires_at:  # settled, or extended meanwhile
                continue
            self._take(hold_id)
            freed = True
            if not hold.settled:
                self.leaked += 1
                continue
            # Its entry never came, but someone said what the call used: that stays counted.
            for place, size, _ in hold.parts:
                self._use(place, hold.made_at, size)
        return freed

    def _sweep(self, now: int) -> None:
        """Drop windows that are over (the last one is kept for what rolls over) and rolling buckets that are empty."""
        if now - self._swept_at >= SWEEP_US:
            self._swept_at = now
            for window, end in list(self._ends.items()):
                length = end - window[1]
                if end + length + KEPT_US < now:
                    del self._windows[window], self._ends[window]
            self._stale = iter([])
            rolling = sorted(self._rolling)
            if rolling:
                # One limit a minute, each in turn.
                self._sweeping = next((w for w in rolling if w > self._sweeping), rolling[0])
                self._stale = iter(list(self._windows.get(self._sweeping, ())))
        place = self._rolling.get(self._sweeping)
        buckets = self._windows.get(self._sweeping, {})
        for key in itertools.islice(self._stale, SWEPT):
            bucket = buckets.get(key)
            if place and bucket and not self._used(bucket, place, now) and not bucket.held and not bucket.slots:
                del buckets[key]
