"""What counters are asked, and in which words: places, demands, holds, postings. Memory and Redis answer alike.

Everything is whole units: 10⁻¹² USD, a token, a request.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from spanledger.limits.check import Check

Key = tuple[str | None, ...]


# Places, demands, readings and holds are made for every check: as structs that takes a quarter of the time, and the garbage
# collector, which would look through all of them again and again, knows nothing of them.
class Place(Struct, frozen=True, array_like=True, cache_hash=True, gc=False):
    """Where something is counted: the bucket `key` of a limit, in the window from `start` to `end`.

    For a rolling window `start` is 0, and amounts lie in slots of `width` microseconds, of which those count that are
    at most `length` old. Without a `width`, a `length` says how long after its last use the bucket is kept.
    """

    limit_id: str
    key: Key
    start: int
    end: int
    width: int = 0
    length: int = 0


class Demand(Struct, frozen=True, gc=False):
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


class Reading(Struct, frozen=True, gc=False):
    """A bucket as a check found it, before its own hold."""

    used: int
    held: int
    worst: int
    passes: bool


class Amount(NamedTuple):
    """Something to count: at which place, when it occurred, how much."""

    place: Place
    at: int
    units: int


class Posting(NamedTuple):
    """What one entry, or several together, do to counters. `entry_id` is None where nothing can be delivered twice."""

    entry_id: str | None
    hold_id: str | None
    amounts: Sequence[Amount]


class Part(Struct, frozen=True, array_like=True, gc=False):
    """What a hold sets aside at one place, and what its call can come to there at most."""

    place: Place
    size: int
    worst: int

    def __iter__(self) -> Iterator[Any]:
        return iter((self.place, self.size, self.worst))


class Hold(Struct, array_like=True, gc=False):
    """What a passed check set aside; `settled` once someone said what the call really used."""

    id: str
    made_at: int
    expires_at: int
    parts: tuple[Part, ...]
    about: Check
    settled: bool = False


class CountersAway(Exception):
    """The counters cannot be reached, or are being counted anew; each limit says what that means for a call.

    `unheard`: what was asked for may have been done all the same, only its answer was lost.
    """

    def __init__(self, says: str, *, unheard: bool = False) -> None:
        super().__init__(says)
        self.unheard = unheard


class Snapshot(Protocol):
    """The ledger as it was when limits were counted from it."""

    def seen(self, entry_ids: Sequence[str]) -> Collection[str]:
        """Those of these entries that it had."""
        ...

    def newest(self) -> Sequence[str]:
        """The entries that it had learned of last: any that may not have been posted to the counters yet is among them."""
        ...


class Counters(Protocol):
    """Used and held units of every bucket."""

    leaked: int

    @property
    def remote(self) -> bool:
        """Whether other processes share them, so that asking takes a while and may raise `CountersAway`."""
        ...

    def hold(self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check) -> list[Reading]:
        """Test all demands; when every one that refuses passes, hold them all. Without a `hold_id` only test."""
        ...

    async def hold_soon(
        self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check
    ) -> list[Reading]:
        """The same from an event loop."""
        ...

    def release(self, hold_id: str) -> bool:
        """Set free what a hold holds. False when there is no such hold (any more)."""
        ...

    def settle(self, hold_id: str, parts: tuple[Part, ...], until: int) -> bool:
        """Replace what a hold holds by what its call used, until its entry arrives; from `until` on it counts as used."""
        ...

    def extend(self, hold_id: str, expires_at: int) -> bool:
        """Lengthen a lease. False when there is no such hold (any more), or it is settled."""
        ...

    def post(self, postings: Iterable[Posting], now: int) -> None:
        """Add what is used, and drop the holds of the calls that these are, in one step."""
        ...

    def read(self, places: Sequence[Place], now: int) -> list[Reading]:
        """Buckets as they stand."""
        ...

    async def read_soon(self, places: Sequence[Place], now: int) -> list[Reading]:
        """The same from an event loop."""
        ...

    def keys(self, limit_id: str, start: int, count: int) -> tuple[list[Key], int]:
        """The keys of the fullest live buckets of a limit in the window that began at `start`, and how many there are."""
        ...

    def slots(self, place: Place, now: int) -> list[tuple[int, int]]:
        """(slot, units) of a rolling bucket that still count, oldest first."""
        ...

    async def slots_soon(self, place: Place, now: int) -> list[tuple[int, int]]:
        """The same from an event loop."""
        ...

    def find(self, hold_id: str) -> Hold | None:
        """A live hold."""
        ...

    def count(self, limit_ids: Collection[str]) -> tuple[int, int]:
        """(live buckets of these limits, which are all, live holds)."""
        ...

    def expire(self, now: int) -> None:
        """Release what has outlived its lease."""
        ...

    def hold_anew(
        self,
        limit_ids: Collection[str],
        parts_of: Callable[[Hold], Sequence[Part]],
        but: Collection[str] = (),
        *,
        own: bool = False,
    ) -> Collection[str]:
        """Let these limits hold what the calls in flight hold of them by now, `but` for some; gives the holds looked at.

        `own`: those alone that this process made. `parts_of` gives what a hold sets aside under these limits.
        """
        ...

    def forget(self, limit_id: str) -> None:
        """Drop a limit's buckets, whatever they hold."""
        ...

    def begin_count(self, limit_ids: Sequence[str], now: int) -> None:
        """To be called before the ledger is read that `replace` counts from."""
        ...

    def replace(self, limit_ids: Sequence[str], amounts: Iterable[Amount], now: int, snapshot: Snapshot) -> None:
        """Count these limits anew: what is used is replaced, what is held stays.

        What others posted since `begin_count` stays counted, but for what the `snapshot` has; at no moment is it left out.
        """
        ...

    async def leave(self) -> None:
        """Close what the running event loop has open."""
        ...

    def close(self) -> None:
        """Close everything else."""
        ...
