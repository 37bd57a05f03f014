"""What the benches of limits ask, and of which limits."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from spanledger.control import Control
from spanledger.limits import Check, Limits
from spanledger.prices import Prices

LIMITS: list[dict[str, Any]] = [
    {"name": "month", "measure": "cost_usd", "amount": "90000000", "window": "month", "selectors": {"tenant": "acme"}},
    {"name": "hour", "measure": "tokens", "amount": 10**14, "window": "rolling 1h", "per": ["user"]},
    {"name": "calls", "measure": "requests", "amount": 10**12, "window": "day", "per": ["tenant", "model"]},
]
#: A limit for each of many tenants, and the three.
MANY: list[dict[str, Any]] = [
    {"name": f"tenant {n}", "measure": "cost_usd", "amount": 10**6, "window": "month", "selectors": {"tenant": f"t{n}"}}
    for n in range(9_997)
] + [{**limit, "selectors": {}} for limit in LIMITS]


def body_of(number: int) -> bytes:
    """A check of one of a thousand users, each time of another size, whose hold lasts for a second."""
    asked = {
        "tenant": "acme", "user": f"u-{number % 1000}", "provider": "openai", "model": "gpt-4o", "operation": "chat",
        "input_tokens": 1_000 + number % 997, "max_output_tokens": 500, "lease_seconds": 1,
    }  # fmt: skip
    return orjson.dumps(asked)


def check_of(number: int) -> Check:
    """The same with the usual lease."""
    return Check(
        tenant="acme", user=f"u-{number % 1000}", provider="openai", model="gpt-4o", operation="chat",
        input_tokens=1_000 + number % 997, max_output_tokens=500,
    )  # fmt: skip


def limits(folder: Path, *, kept: bool = True, **more: Any) -> Limits:
    """Three limits, whose holds are `kept` on disk."""
    made = Limits(Control.open(folder / "control.sqlite"), Prices(), folder=folder if kept else None, **more)
    made.configure(LIMITS)
    return made


def microseconds_each(of: Limits, check: Callable[[int], Check], seconds: float) -> float:
    """What one check takes, after two thousand of them."""
    for number in range(2_000):
        of.check(check(number))
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        of.check(check(count % 2_000))
        count += 1
    return (time.perf_counter() - began) / count * 1e6


def quantiles(seconds: list[float]) -> str:
    """For people."""
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(len(ordered) * q)] * 1e6 for q in (0.5, 0.99))
    return f"p50 {p50:,.0f} µs, p99 {p99:,.0f} µs"
