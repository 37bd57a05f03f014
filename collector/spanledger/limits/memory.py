"""Counters in memory: what is used and held in every bucket, and the one atomic step that tests and holds.

Everything is whole units, so nothing is ever rounded. One lock guards it all: a step takes microseconds, and two
checks can never both take the last of a limit. Nothing here knows what a limit covers or what it costs.
"""

import heapq
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spanledger.limits.check import Check

Key = tuple[str | None, ...]

SWEEP_US = 60_000_000
KEPT_US = 3_600_000_000


class Place(NamedTuple):
    """Where something is counted: the bucket `key` of a limit, in the window from `start` to `end`.

    For a rolling window `start` is 0, and amounts lie in slots of `width` microseconds, of which those count that are
    at most `length` old; otherwise both are 0.
    """

    limit_id: str
    key: Key
    start: int
    end: int
    width: int = 0
    length: int = 0


class Demand(NamedTuple):
    """What a check asks of one place: `size` is held, `worst` is what the call can come to at most.

    It passes when used + held + size ≤ cap, and used + the worst of all holds + worst ≤ bound. `refuses` is False for
    soft limits, which are held but never say no.
    """

    place: Place
    size: int
    worst: int
    cap: int
    bound: int
    refuses: bool = True


@dataclass(slots=True)
class Bucket:
    used: int = 0
    held: int = 0
    worst: int = 0
    slots: dict[int, int] | None = None
    oldest: int = 0


class Reading(NamedTuple):
    """A bucket as a check found it, before its own hold."""

    used: int
    held: int
    worst: int
    passes: bool


@dataclass(slots=True)
class Hold:
    """What a passed check set aside: (place, size, worst) each; `settled` once someone said what the call really used."""

    id: str
    made_at: int
    expires_at: int
    parts: tuple[tuple[Place, int, int], ...]
    about: Check
    settled: bool = False


class MemoryCounters:
    """Counters of one process. `released` is called, outside the lock, whenever something that was held became free."""

    def __init__(self, released: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, int], dict[Key, Bucket]] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._swept_at = 0
        self._holds: dict[str, Hold] = {}
        self._leases: list[tuple[int, str]] = []
        self._released = released
        self.expired = 0  # holds whose call never arrived

    # — the step —

    def hold(self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check) -> list[Reading]:
        """Test all demands; when every one that refuses passes, hold them all. Without a `hold_id` only test."""
        with self._lock:
            freed = self._expire(now)
            readings = []
            passes = True
            for demand in demands:
                bucket = self._bucket(demand.place)
                used = self._used(bucket, demand.place, now)
                fits = used + bucket.held + demand.size <= demand.cap and used + bucket.worst + demand.worst <= demand.bound
                readings.append(Reading(used, bucket.held, bucket.worst, fits))
                passes = passes and (fits or not demand.refuses)
            if passes and hold_id is not None:
                self._add(Hold(hold_id, now, expires_at, tuple((d.place, d.size, d.worst) for d in demands), about))
        if freed:
            self._released()
        return readings

    def release(self, hold_id: str) -> bool:
        """Set free what a hold holds. False when there is no such hold (any more)."""
        with self._lock:
            found = self._take(hold_id) is not None
        if found:
            self._released()
        return found

    def settle(self, hold_id: str, amounts: Callable[[Place], int | None], until: int) -> bool:
        """Replace what a hold holds by what its call used, until its entry arrives (or `until`, when it no longer can).

        An amount of None leaves the hold of that place as it is.
        """
        with self._lock:
            hold = self._take(hold_id)
            if hold is None:
                return False
            parts = []
            for place, size, worst in hold.parts:
                amount = amounts(place)
                parts.append((place, size, worst) if amount is None else (place, amount, amount))
            self._add(Hold(hold_id, hold.made_at, until, tuple(parts), hold.about, settled=True))
        self._released()
        return True

    def extend(self, hold_id: str, expires_at: int) -> bool:
        """Lengthen a lease. False when there is no such hold (any more)."""
        with self._lock:
            hold = self._holds.get(hold_id)
            if hold is None or hold.settled:
                return False
            hold.expires_at = expires_at
            heapq.heappush(self._leases, (expires_at, hold_id))
            return True

    def post(self, amounts: Iterable[tuple[Place, int, int]], settled: Iterable[str], now: int) -> None:
        """Add (place, moment, amount) to what is used, and drop the holds of the calls that these are, in one step."""
        with self._lock:
            freed = self._expire(now)
            for hold_id in settled:
                freed = self._take(hold_id) is not None or freed
            for place, at, amount in amounts:
                self._use(place, at, amount)
            if now - self._swept_at >= SWEEP_US:
                self._sweep(now)
        if freed:
            self._released()

    # — reading —

    def read(self, place: Place, now: int) -> Reading:
        """One bucket as it stands."""
        with self._lock:
            self._expire(now)
            bucket = self._windows.get((place.limit_id, place.start), {}).get(place.key)
            if bucket is None:
                return Reading(0, 0, 0, True)
            return Reading(self._used(bucket, place, now), bucket.held, bucket.worst, True)

    def buckets(self, limit_id: str, start: int) -> list[Key]:
        """The keys of a limit's live buckets in the window that began at `start`."""
        with self._lock:
            return list(self._windows.get((limit_id, start), ()))

    def slots(self, place: Place, now: int) -> list[tuple[int, int]]:
        """(slot, amount) of a rolling bucket that still count, oldest first."""
        with self._lock:
            bucket = self._windows.get((place.limit_id, place.start), {}).get(place.key)
            if bucket is None or bucket.slots is None:
                return []
            self._used(bucket, place, now)
            return sorted(bucket.slots.items())

    def find(self, hold_id: str) -> Hold | None:
        with self._lock:
            return self._holds.get(hold_id)

    def count(self) -> tuple[int, int]:
        """(live buckets, live holds)."""
        with self._lock:
            return sum(map(len, self._windows.values())), len(self._holds)

    def earliest_lease(self) -> int | None:
        with self._lock:
            return self._leases[0][0] if self._leases else None

    # — upkeep —

    def expire(self, now: int) -> None:
        """Release what has outlived its lease."""
        with self._lock:
            freed = self._expire(now)
        if freed:
            self._released()

    def forget(self, limit_id: str) -> None:
        """Drop a limit's buckets, whatever they hold."""
        with self._lock:
            for window in [w for w in self._windows if w[0] == limit_id]:
                del self._windows[window], self._ends[window]

    def replace(self, limit_id: str, amounts: Iterable[tuple[Place, int, int]]) -> None:
        """Count a limit anew from (place, moment, amount): what is used is replaced, what is held stays."""
        with self._lock:
            for window, buckets in self._windows.items():
                if window[0] == limit_id:
                    for bucket in buckets.values():
                        bucket.used = 0
                        bucket.slots = None
            for place, at, amount in amounts:
                self._use(place, at, amount)

    # — inside the lock —

    def _bucket(self, place: Place) -> Bucket:
        window = self._windows.get((place.limit_id, place.start))
        if window is None:
            window = self._windows[(place.limit_id, place.start)] = {}
            self._ends[(place.limit_id, place.start)] = place.end
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

    def _use(self, place: Place, at: int, amount: int) -> None:
        bucket = self._bucket(place)
        if place.width:
            slot = at // place.width
            if bucket.slots is None:
                bucket.slots = {}
            elif slot < bucket.oldest:
                return
            bucket.slots[slot] = bucket.slots.get(slot, 0) + amount
        bucket.used += amount

    def _add(self, hold: Hold) -> None:
        self._holds[hold.id] = hold
        heapq.heappush(self._leases, (hold.expires_at, hold.id))
        for place, size, worst in hold.parts:
            bucket = self._bucket(place)
            bucket.held += size
            bucket.worst += worst

    def _take(self, hold_id: str) -> Hold | None:
        hold = self._holds.pop(hold_id, None)
        if hold is not None:
            for place, size, worst in hold.parts:
                bucket = self._bucket(place)
                bucket.held -= size
                bucket.worst -= worst
        return hold

    def _expire(self, now: int) -> bool:
        freed = False
        while self._leases and self._leases[0][0] <= now:
            expires_at, hold_id = heapq.heappop(self._leases)
            hold = self._holds.get(hold_id)
            if hold is None or hold.expires_at != expires_at:  # settled, or extended meanwhile
                continue
            self._take(hold_id)
            freed = True
            if not hold.settled:
                self.expired += 1
                continue
            # Its entry never came, but someone said what the call used: that stays counted.
            for place, size, _ in hold.parts:
                self._use(place, hold.made_at, size)
        return freed

    def _sweep(self, now: int) -> None:
        """Drop the windows that ended before the last one of their limit did; that one is kept for what rolls over."""
        self._swept_at = now
        for window, end in list(self._ends.items()):
            length = end - window[1]
            if end + length + KEPT_US < now:
                del self._windows[window], self._ends[window]
