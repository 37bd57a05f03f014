"""Buckets of one process: what is used and held in every window, and which of them are over.

Everything is whole units, so nothing is ever rounded. Nothing here is locked: `MemoryCounters` does that.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from spanledger.limits.counters.counters import Key, Place

SWEEP_US = 60_000_000
KEPT_US = 3_600_000_000
#: Buckets looked at in one sweep: half a millisecond, so that no check waits long for it.
SWEPT = 2_000


#: Places that checks have asked for lately, with their buckets.
REMEMBERED = 100_000


class Bucket(Struct, gc=False):
    """`slots` of a rolling window: slot, units, slot, units … oldest first. There are millions of buckets: as tuples these take
    a quarter of the memory that dictionaries would, and the garbage collector does not look at them."""

    used: int = 0
    held: int = 0
    worst: int = 0
    slots: tuple[int, ...] = ()
    touched: int = 0

    def pairs(self) -> list[tuple[int, int]]:
        """(slot, units), oldest first."""
        return list(zip(self.slots[::2], self.slots[1::2], strict=True))


_EMPTY = Bucket()


class Buckets:
    """By limit and window, then by key."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, int], dict[Key, Bucket]] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._recent: dict[Place, Bucket] = {}
        self._swept_at = 0
        self._letting_go: dict[tuple[str, int], Place] = {}
        self._stale: Iterator[Key] = iter(())
        self._sweeping: tuple[str, int] = ("", 0)

    def at(self, place: Place) -> Bucket:
        """The bucket of a place, made when there is none."""
        window = self._windows.get((place.limit_id, place.start))
        if window is None:
            window = self._windows[(place.limit_id, place.start)] = {}
            self._ends[(place.limit_id, place.start)] = place.end
            if place.length:
                self._letting_go[(place.limit_id, place.start)] = place
        bucket = window.get(place.key)
        if bucket is None:
            bucket = window[place.key] = Bucket()
        return bucket

    def asked(self, place: Place) -> Bucket:
        """The same for a check: it is likely to be asked for again."""
        bucket = self._recent.get(place)
        if bucket is None:
            if len(self._recent) >= REMEMBERED:
                self._recent.clear()
            bucket = self._recent[place] = self.at(place)
        return bucket

    def used(self, bucket: Bucket, place: Place, now: int) -> int:
        """What is used of a bucket now; slots that are too old are taken out first."""
        slots = bucket.slots
        if slots and slots[0] < (oldest := (now - place.length) // place.width):
            gone = next((at for at in range(0, len(slots), 2) if slots[at] >= oldest), len(slots))
            bucket.used -= sum(slots[1:gone:2])
            bucket.slots = slots[gone:]
        return bucket.used

    def use(self, place: Place, at: int, units: int) -> None:
        """Count something that occurred `at`."""
        bucket = self.at(place)
        if place.width:
            bucket.slots = _with(bucket.slots, at // place.width, units)
        elif at > bucket.touched:
            bucket.touched = at
        bucket.used += units

    def find(self, place: Place) -> Bucket | None:
        """The bucket of a place, if there is one."""
        return self._windows.get((place.limit_id, place.start), {}).get(place.key)

    def of(self, limit_id: str, start: int) -> Mapping[Key, Bucket]:
        """All buckets of a limit in the window that began at `start`."""
        return self._windows.get((limit_id, start), {})

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def forget(self, limit_id: str) -> None:
        """Drop a limit's buckets, whatever they hold."""
        self._recent.clear()
        for window in [w for w in self._windows if w[0] == limit_id]:
            del self._windows[window], self._ends[window]
            self._letting_go.pop(window, None)

    def replace(self, limit_ids: Collection[str], counted: "Buckets") -> None:
        """Let these limits stand as `counted` has them, which is used up; what is held stays."""
        self._recent.clear()
        for window, buckets in self._windows.items():
            if window[0] in limit_ids:
                fresh = counted._windows.pop(window, {})
                for key, bucket in buckets.items():
                    as_counted = fresh.pop(key, _EMPTY)
                    bucket.used, bucket.slots = as_counted.used, as_counted.slots
                    bucket.touched = max(bucket.touched, as_counted.touched)
                buckets.update(fresh)
        self._windows |= counted._windows
        self._ends |= counted._ends
        self._letting_go |= counted._letting_go

    def sweep(self, now: int) -> None:
        """Drop windows that are over (the last one is kept for what rolls over), and what is empty in those that go on."""
        if now - self._swept_at >= SWEEP_US:
            self._swept_at = now
            for window, end in list(self._ends.items()):
                length = end - window[1]
                if end + length + KEPT_US < now:
                    del self._windows[window], self._ends[window]
                    self._recent.clear()
            self._stale = iter([])
            windows = sorted(self._letting_go)
            if windows:
                # One limit a minute, each in turn.
                self._sweeping = next((w for w in windows if w > self._sweeping), windows[0])
                self._stale = iter(list(self._windows.get(self._sweeping, ())))
        place = self._letting_go.get(self._sweeping)
        buckets = self._windows.get(self._sweeping, {})
        for key in itertools.islice(self._stale, SWEPT):
            bucket = buckets.get(key)
            if place and bucket and not bucket.held and self._is_over(bucket, place, now):
                del buckets[key]
                self._recent.clear()

    def _is_over(self, bucket: Bucket, place: Place, now: int) -> bool:
        if place.width:
            return not self.used(bucket, place, now) and not bucket.slots
        return bucket.touched < now - place.length


def _with(slots: tuple[int, ...], slot: int, units: int) -> tuple[int, ...]:
    """The slots with so many units more in one of them; nearly always it is the newest."""
    end = len(slots)
    while end and slots[end - 2] > slot:
        end -= 2
    if end and slots[end - 2] == slot:
        return (*slots[: end - 1], slots[end - 1] + units, *slots[end:])
    return (*slots[:end], slot, units, *slots[end:])
