"""What the window before left unused, for limits whose rest rolls over."""

import time
from collections.abc import Sequence

from spanledger.limits.counters.counters import Counters, CountersAway, Place
from spanledger.limits.covering import Covered, place_of
from spanledger.limits.limit import Limit
from spanledger.limits.window import micros

#: An entry that is late, or re-rated, still changes what was left; shared counters are asked again after so long.
KNOWN_SECONDS = 10.0
REMEMBERED = 100_000


class Carried:
    """Asks counters in this process each time; of shared ones it remembers what they said.

    An event loop must not wait for a thread's connection, so there what is not known counts as nothing until it is fetched.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._known: dict[Place, tuple[int, float]] = {}
        self._wanted: list[Place] = []

    def __call__(self, limit: Limit, covered: Covered, now: int) -> int:
        """Units that this window may use on top."""
        start = place_of(limit, covered.key, now).start
        before = place_of(limit, covered.key, start - 1)
        if limit.created_at is not None and micros(limit.created_at) > before.start:
            return 0
        if not self._counters.remote:
            [reading] = self._counters.read([before], now)
            return rest_of(limit, reading.used)
        known = self._known.get(before)
        if known is None or known[1] < time.monotonic():
            self._wanted.append(before)
        return 0 if known is None else rest_of(limit, known[0])

    @property
    def wanted(self) -> Sequence[Place]:
        """What was asked for and is not known, or not any more."""
        return self._wanted

    def fetch_now(self, now: int) -> None:
        """Fetch what is wanted, from a thread."""
        if not self._wanted:
            return
        places, self._wanted = self._wanted, []
        try:
            self._learn(places, [reading.used for reading in self._counters.read(places, now)])
        except CountersAway:  # the step itself will find them away, and each limit then says what that means
            return

    async def fetch(self, now: int) -> None:
        """Fetch what is wanted, from an event loop."""
        places, self._wanted = self._wanted, []
        try:
            self._learn(places, [reading.used for reading in await self._counters.read_soon(places, now)])
        except CountersAway:
            return

    def _learn(self, places: Sequence[Place], used: Sequence[int]) -> None:
        if len(self._known) > REMEMBERED:
            self._known.clear()
        until = time.monotonic() + KNOWN_SECONDS
        self._known.update((place, (units, until)) for place, units in zip(places, used, strict=True))


def rest_of(limit: Limit, used: int) -> int:
    """What a window of which so much was used leaves to the next, in units."""
    return max(0, min(limit.cap - used, int(limit.cap * limit.rollover)))
