"""How full the buckets of a limit are, and what they stop at now."""

from collections.abc import Sequence

from spanledger.limits.answer import Asked
from spanledger.limits.carried import Carried
from spanledger.limits.counters.counters import Counters, Demand, Key
from spanledger.limits.covering import Covered
from spanledger.limits.limit import Limit
from spanledger.limits.terms import Grant


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
