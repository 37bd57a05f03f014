"""10,000 limits and a million live buckets, in this process."""

import gc
import resource
import tempfile
from pathlib import Path

from bench.limits.made import MANY, check_of, limits, microseconds_each
from spanledger.control import Control
from spanledger.limits import Check, Limit, Limits
from spanledger.limits.counters.counters import Amount, Posting
from spanledger.limits.covering import place_of


def many(seconds: float) -> None:
    """10,000 limits and a million live buckets: memory, and a check beside the same check with three limits."""

    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as folder:
        small = limits(Path(few), kept=False)
        of = Limits(Control.open(Path(folder) / "control.sqlite"), small._prices)
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        of.configure(MANY)
        per_user = next(limit for limit in of.all() if limit.per == ("user",))
        for start in range(0, 1_000_000, 10_000):
            of._counters.post([Posting(None, None, _buckets(per_user, start, of.micros()))], of.micros())
        buckets = of.counts()["buckets"]
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"many: {len(of.all()):,} limits and {buckets:,} buckets: {grown:,.0f} MB more")

        def spread(number: int) -> Check:
            return Check(tenant=f"t{number}", user=f"u-{number * 499}", provider="openai", model="gpt-4o", input_tokens=1200,
                         max_output_tokens=500)  # fmt: skip

        gc.collect()
        gc.freeze()
        base, found = microseconds_each(small, check_of, seconds / 2), microseconds_each(of, spread, seconds / 2)
        print(f"many: a check {found:,.1f} µs; with three limits {base:,.1f} µs; {found / base:.2f} times")


def _buckets(limit: Limit, start: int, now: int) -> list[Amount]:
    return [Amount(place_of(limit, (f"u-{n}",), now), now, 5) for n in range(start, start + 10_000)]
