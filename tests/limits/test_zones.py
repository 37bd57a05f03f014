"""Limits where clocks change and months end, in five zones: nothing is lost between two windows, nothing counts in both."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanledger.limits import Check
from spanledger.limits.window import SECOND, Calendar, micros, moment
from tests.limits.made import Clock, add, ask, entries, entry, limits, stands

#: Days on which clocks change, forwards and back, by the zone; hours that the day has.
CHANGES = [
    ("Europe/Berlin", "2026-03-29", 23),
    ("Europe/Berlin", "2026-10-25", 25),
    ("America/New_York", "2026-03-08", 23),
    ("America/New_York", "2026-11-01", 25),
    ("Australia/Lord_Howe", "2026-10-04", 23.5),
    ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ("America/Santiago", "2026-09-06", 23),  # midnight itself is skipped
    ("America/Santiago", "2026-04-05", 24),  # the hour before midnight comes twice, on the day before
    ("Asia/Kolkata", "2026-02-28", 24),
]
ENDS = [("Europe/Berlin", 3), ("America/New_York", 11), ("Australia/Lord_Howe", 4), ("America/Santiago", 8), ("Asia/Kolkata", 2)]


def begins(zone: str, day: datetime) -> datetime:
    """The first moment of a local day, found by walking minute by minute: not as the product finds it."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=26)
    while at.astimezone(ZoneInfo(zone)).date() < day.date():
        at += timedelta(minutes=1)
    return at


@pytest.mark.parametrize(("zone", "day", "hours"), CHANGES)
def test_a_day_limit_is_full_to_the_last_moment_of_the_day_and_empty_at_the_first_of_the_next(
    tmp_path: Path, zone: str, day: str, hours: float
) -> None:
    first = begins(zone, datetime.fromisoformat(day))
    after = begins(zone, datetime.fromisoformat(day) + timedelta(days=1))
    assert (after - first) == timedelta(hours=hours)
    clock = Clock(first)
    of = limits(tmp_path, clock)
    add(of, window={"kind": "calendar", "unit": "day", "zone": zone}, amount=24, thresholds=[])
    for _ in range(24):
        of.post(entries(entry(clock)))
        clock.now += (after - first) / 24
    clock.now = after - timedelta(microseconds=1)
    refused = of.check(Check()).refused[0]
    assert (refused.window_end, refused.used, refused.retry_after_seconds) == (after, "24", 1)
    clock.now = after
    assert ask(of) == "allow"


@pytest.mark.parametrize(("zone", "month"), ENDS)
def test_a_month_limit_ends_with_the_local_month(tmp_path: Path, zone: str, month: int) -> None:
    end = begins(zone, datetime(2026, month % 12 + 1, 1))
    clock = Clock(end - timedelta(seconds=6))
    of = limits(tmp_path, clock)
    add(of, window={"kind": "calendar", "unit": "month", "zone": zone}, amount=1, thresholds=[])
    of.post(entries(entry(clock)))
    refused = of.check(Check()).refused[0]
    assert (refused.window_end, refused.retry_after_seconds) == (end, 6)
    clock.now = end
    assert ask(of) == "allow"
    assert ask(of) == "refuse"


@given(
    zone=st.sampled_from(sorted({zone for zone, *_ in CHANGES})),
    month=st.integers(1, 12),
    calls=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 10**9)), max_size=25),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_days_of_a_month_counted_is_what_the_month_counted(zone: str, month: int, calls: list[Any]) -> None:
    start, end = Calendar(unit="month", zone=zone).span(micros(datetime(2026, month, 15, tzinfo=UTC)))
    placed = sorted((start + int(share * (end - start)), units) for share, units in calls)
    clock = Clock(moment(start))
    with TemporaryDirectory() as folder:
        of = limits(Path(folder), clock)
        by_unit = {
            unit: add(of, measure="tokens", amount=10**15, window={"kind": "calendar", "unit": unit, "zone": zone})
            for unit in ("day", "month")
        }
        days = 0
        now = start
        while now < end:
            upto = Calendar(unit="day", zone=zone).span(now)[1]
            rows = [
                entry(clock, occurred_at=moment(at), input_tokens=units, output_tokens=0)
                for at, units in placed
                if now <= at < upto
            ]
            clock.now = moment(upto - SECOND // 2)
            if rows:
                of.post(entries(*rows))
            days += sum(used for _, used, _ in stands(of, by_unit["day"]))
            now = upto
        assert days == sum(units for _, units in placed) == sum(used for _, used, _ in stands(of, by_unit["month"]))
