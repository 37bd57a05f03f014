"""Windows: calendar ones follow each other without gap or overlap in every zone, rolling ones hold what is young enough."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.limits.errors import LimitError
from spanledger.limits.window import FOREVER, SECOND, UNITS, Calendar, Rolling, micros, moment, window_of

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia")
moments = st.integers(micros(datetime(1990, 1, 1, tzinfo=UTC)), micros(datetime(2037, 1, 1, tzinfo=UTC)))


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text))


def span(window: Calendar, text: str) -> tuple[str, str]:
    zone = ZoneInfo(window.zone)
    start, end = window.span(at(text))
    return moment(start).astimezone(zone).isoformat(), moment(end).astimezone(zone).isoformat()


calendars = st.builds(
    Calendar,
    unit=st.sampled_from(UNITS),
    zone=st.sampled_from(ZONES),
    anchor_hour=st.integers(0, 23),
    week_start=st.integers(0, 6),
    anchor_day=st.integers(1, 31),
    anchor_month=st.integers(1, 12),
)


@settings(deadline=None)
@given(calendars, moments)
def test_every_moment_lies_in_exactly_one_window_and_windows_touch(window: Calendar, now: int) -> None:
    start, end = window.span(now)
    assert start <= now < end
    assert window.span(start) == (start, end)
    assert window.span(end - 1) == (start, end)
    assert window.span(end)[0] == end
    assert window.span(start - 1)[1] == start


@settings(deadline=None)
@given(st.sampled_from(ZONES), moments)
def test_the_days_of_a_month_are_the_month(zone: str, now: int) -> None:
    start, end = Calendar(unit="month", zone=zone).span(now)
    day = Calendar(unit="day", zone=zone)
    days, place = 0, start
    while place < end:
        place, days = day.span(place)[1], days + 1
    assert place == end
    assert 27 <= days <= 31


def test_a_day_in_which_clocks_change_has_23_or_25_hours() -> None:
    berlin = Calendar(unit="day", zone="Europe/Berlin")
    for text, hours in (("2026-03-29T12:00+00:00", 23), ("2026-10-25T12:00+00:00", 25), ("2026-06-01T12:00+00:00", 24)):
        start, end = berlin.span(at(text))
        assert (end - start) // (3_600 * SECOND) == hours


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    hour = Calendar(unit="hour", zone="America/New_York")
    first, second = hour.span(at("2026-11-01T05:30+00:00")), hour.span(at("2026-11-01T06:30+00:00"))
    assert first[1] == second[0]


def test_a_midnight_that_the_clocks_skip_is_the_first_moment_of_the_day() -> None:
    assert span(Calendar(unit="day", zone="America/Havana"), "2026-03-08T12:00+00:00") == (
        "2026-03-08T01:00:00-04:00",
        "2026-03-09T00:00:00-04:00",
    )


def test_a_month_anchored_on_the_31st_starts_on_the_last_day_of_shorter_months() -> None:
    window = Calendar(unit="month", anchor_day=31)
    assert span(window, "2026-02-28T12:00+00:00") == ("2026-02-28T00:00:00+00:00", "2026-03-31T00:00:00+00:00")
    assert span(window, "2024-02-28T12:00+00:00") == ("2024-01-31T00:00:00+00:00", "2024-02-29T00:00:00+00:00")


def test_a_fiscal_year_and_its_quarters_start_in_their_month() -> None:
    assert span(Calendar(unit="year", anchor_month=4), "2026-02-01T00:00+00:00")[0] == "2025-04-01T00:00:00+00:00"
    assert span(Calendar(unit="quarter", anchor_month=2), "2026-01-31T00:00+00:00") == (
        "2025-11-01T00:00:00+00:00",
        "2026-02-01T00:00:00+00:00",
    )


def test_a_week_starts_on_the_day_that_was_chosen() -> None:
    assert span(Calendar(unit="week", week_start=6), "2026-11-25T00:00+00:00")[0] == "2026-11-22T00:00:00+00:00"


@settings(deadline=None)
@given(st.integers(1, 400 * 86_400), moments)
def test_a_rolling_window_holds_all_that_is_young_enough_and_at_most_a_slot_more(seconds: int, now: int) -> None:
    window = Rolling(seconds=seconds)
    start, end = window.span(now)
    assert now - seconds * SECOND - window.slot_us < start <= now - seconds * SECOND
    assert now < end <= now + window.slot_us
    assert window.slot_us <= max(SECOND, seconds * SECOND // 120 + SECOND)


def test_a_lifetime_never_ends() -> None:
    assert window_of("lifetime").span(at("2026-01-01T00:00+00:00")) == (0, FOREVER)
    assert moment(FOREVER) > datetime.now(UTC) + timedelta(days=365_000)


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"kind": "rolling", "seconds": 0}, "window.seconds"),
        ({"kind": "rolling", "seconds": -5}, "window.seconds"),
        ({"kind": "rolling", "seconds": True}, "window.seconds"),
        ({"kind": "rolling", "seconds": 1.5}, "window.seconds"),
        ({"kind": "rolling"}, "window.seconds"),
        ({"kind": "calendar", "unit": "fortnight"}, "window.unit"),
        ({"kind": "calendar", "unit": "day", "zone": "Europe/Atlantis"}, "window.zone"),
        ({"kind": "calendar", "unit": "day", "zone": "../../etc/passwd"}, "window.zone"),
        ({"kind": "calendar", "unit": "day", "zone": 5}, "window.zone"),
        ({"kind": "calendar", "unit": "month", "anchor_day": 32}, "window.anchor_day"),
        ({"kind": "calendar", "unit": "week", "week_start": "noday"}, "window.week_start"),
        ({"kind": "calendar", "unit": "day", "seconds": 5}, "window.seconds"),
        ({"kind": "calendar", "unit": "hour", "anchor_hour": 5}, "window.anchor_hour"),
        ({"kind": "calendar", "unit": "day", "week_start": "sunday"}, "window.week_start"),
        ({"kind": "calendar", "unit": "week", "anchor_day": 2}, "window.anchor_day"),
        ({"kind": "calendar", "unit": "month", "anchor_month": 2}, "window.anchor_month"),
        ({"kind": "sliding"}, "window.kind"),
        ({}, "window.kind"),
        ("forever", "window"),
        ("rolling h", "window"),
        ("", "window"),
        (5, "window"),
    ],
)
def test_a_window_that_cannot_be_is_refused_with_its_field(given_: object, field: str) -> None:
    with pytest.raises(LimitError) as caught:
        window_of(given_)
    assert caught.value.field == field


@settings(deadline=None)
@given(calendars)
def test_a_window_reads_back_as_it_was_written(window: Calendar) -> None:
    again = window_of(window.fields())
    assert isinstance(again, Calendar)
    assert again.span(at("2026-11-25T00:00+00:00"))[0] == window.span(at("2026-11-25T00:00+00:00"))[0] or window.anchor_day == 1
    assert again.fields() == window.fields()
