"""How full the buckets of a limit are, and what they stop at now."""

from collections.abc import Sequence

from spanledger.limits.answer import Asked
from spanledger.limits.carried import Carried
from spanledger.limits.counters.counters import Counters, Demand, Key
from spanledger.limits.covering import Covered, place_of
from spanledger.limits.limit import Limit
from spanledger.limits.terms import Grant


def fullest(
    counters: Counters, carried: Carried, limit: Limit, grants: Sequence[Grant], now: int, count: int
) -> tuple[list[Asked], int]:
    """The fullest buckets of a limit, at most `count`, and about how many there are. Raises `CountersAway`."""
    keys, total = counters.keys(limit.id, place_of(limit, (), now).start, count)
    # Where the limit was per something else before, empty ones are left over.
    found = how_full(counters, carried, limit, [key for key in keys if len(key) == len(limit.per)], grants, now)
    found = [one for one in found if one.reading.used or one.reading.held]
    return sorted(found, key=lambda asked: asked.share, reverse=True)[:count], total


def how_full(
    counters: Counters, carried: Carried, limit: Limit, keys: Sequence[Key], grants: Sequence[Grant], now: int
) -> list[Asked]:
    """Each of these buckets as a check of nothing finds it, with the limit's `grants` and what was left of its last window.

    Raises `CountersAway`.
    """
    covered = [Covered(limit, key, now, grants) for key in keys]
    readings = counters.read([one.place for one in covered], now)
    caps = [one.cap_at(now) for one in covered]
    if limit.rollover:
        for one in covered:
            carried(limit, one, now)
        carried.fetch_now(now)
        caps = [cap + carried(limit, one, now) for cap, one in zip(caps, covered, strict=True)]
    return [
        Asked(limit, one.key, Demand(one.place, 0, 0, cap, cap), reading)
        for one, cap, reading in zip(covered, caps, readings, strict=True)
    ]
