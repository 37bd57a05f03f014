"""A clock to turn, a flat price, entries by hand: what the tests of limits start from."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import polars as pl

from spanledger.control import Control
from spanledger.ledger.frame import COLUMNS
from spanledger.limits import Check, Limit, Limits
from spanledger.limits.counters.counters import CountersAway

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


class FlatPrice:
    """A dollar per thousand output tokens, so that sums can be told in the head.

    The model `mystery` and the tier `elsewhere` have no price.
    """

    def most(
        self,
        *,
        provider: str | None,
        model: str | None,
        at: int,
        input_tokens: int,
        output_tokens: int,
        operation: str | None = None,
        service_tier: str | None = None,
        belongs: Callable[[], Sequence[tuple[str, str]]] = tuple,
    ) -> int | str:
        if service_tier == "elsewhere":
            return "no rate for tier elsewhere"
        return "no rate for mystery" if model == "mystery" else output_tokens * 10**9

    def max_output_tokens(self, provider: str | None, model: str | None) -> int | None:
        return 500 if model == "bounded" else None


@cache
def _migrated() -> bytes:
    """An empty control database; making one takes a tenth of a second, copying it none."""
    with TemporaryDirectory() as folder:
        made = Control.open(Path(folder) / "control.sqlite")
        made.close()
        return (Path(folder) / "control.sqlite").read_bytes()


def control(folder: Path) -> Control:
    file = folder / "control.sqlite"
    if not file.exists():
        file.write_bytes(_migrated())
    return Control.open(file)


def limits(tmp_path: Path, clock: Clock, **more: Any) -> Limits:
    return Limits(control(tmp_path), FlatPrice(), clock=clock, **more)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it; fail when it does not come to be. While the counters are away, it has not come to be."""
    deadline = time.monotonic() + seconds
    while not _answered(true):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _answered(true: Callable[[], bool]) -> bool:
    try:
        return true()
    except CountersAway:
        return False


def add(to: Limits, **fields: Any) -> Limit:
    given = {"name": uuid4().hex, "measure": "requests", "amount": 1, "window": "day"} | fields
    return to.create(given, who="tests")


def ask(of: Limits, **fields: Any) -> str:
    """The verdict alone."""
    return of.check(Check(**fields)).verdict


def entry(clock: Clock, **fields: Any) -> dict[str, Any]:
    """One call of one cent, now; `cost_usd=None` is unpriced."""
    given: dict[str, Any] = {
        "entry_id": uuid4().hex, "kind": "call", "occurred_at": clock(), "recorded_at": clock(), "calls": 1,
        "input_tokens": 10, "output_tokens": 10, "cost_usd": "0.01", "cost_state": "priced", "tags": {}, "outcome": "ok",
    }  # fmt: skip
    given |= fields
    given["cost_usd"] = None if given["cost_usd"] is None else Decimal(given["cost_usd"])
    given["tags"] = [{"key": key, "value": value} for key, value in given["tags"].items()]
    given["day"] = given["occurred_at"].date()
    return given


def entries(*rows: dict[str, Any]) -> pl.DataFrame:
    names = {name for row in rows for name in row}
    return pl.DataFrame(list(rows), schema={name: kind for name, kind in COLUMNS.items() if name in names}, orient="row")


def stands(of: Limits, limit: Limit) -> list[tuple[tuple[str | None, ...], int, int]]:
    """(key, used, held) of each bucket that is not empty."""
    found = ((a.key, a.reading.used, a.reading.held) for a in of.buckets(limit)[0])
    return sorted((f for f in found if f[1] or f[2]), key=str)
