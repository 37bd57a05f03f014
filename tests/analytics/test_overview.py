"""The first figures people see."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from spanledger.analytics import connect, overview
from tests.analytics.ledgers import NOON, call, filled


def test_an_empty_ledger_has_an_overview_of_nothing(tmp_path: Path) -> None:
    known = overview(connect(tmp_path), NOON)
    assert (known.today.calls, known.month.cost_usd) == (0, Decimal(0))
    assert known.projection is None
    assert known.daily_average_usd is None


def test_today_this_month_and_last_month_are_told_apart(tmp_path: Path) -> None:
    data = filled(
        tmp_path,
        [
            call("1", at=NOON),
            call("2", at=NOON.replace(hour=0)),
            call("4", at=NOON - timedelta(days=1)),
            call("8", at=NOON.replace(day=1, hour=0)),
            call("16", at=NOON.replace(month=10, day=31)),
            call("32", at=NOON.replace(month=9, day=30)),
        ],
    )
    known = overview(connect(data), NOON)
    assert (known.today.cost_usd, known.month.cost_usd, known.last_month.cost_usd) == (Decimal(3), Decimal(15), Decimal(16))


def test_the_month_is_projected_from_full_days_and_from_what_usually_comes_after_this_time_of_day(tmp_path: Path) -> None:
    before, after = NOON - timedelta(hours=1), NOON + timedelta(hours=1)
    past = [call(cost, at=at - timedelta(days=ago)) for ago in range(1, 7) for cost, at in (("1", before), ("2", after))]
    known = overview(connect(filled(tmp_path, [*past, call("5", at=before)])), NOON)
    assert known.projection is not None
    assert known.projection.full_days == 5  # of the six, the first is where the ledger begins
    assert known.daily_average_usd == 3
    assert known.usual_by_now_usd == 1
    assert known.month.cost_usd == 23
    assert known.projection.cost_usd == 23 + 2 + 12 * 3


def test_a_stray_call_from_another_age_does_not_thin_the_average(tmp_path: Path) -> None:
    past = [call("3", at=NOON - timedelta(days=ago)) for ago in range(1, 5)]
    known = overview(connect(filled(tmp_path, [*past, call("3", at=NOON.replace(year=1970))])), NOON)
    assert known.daily_average_usd == 3


def test_a_filter_is_in_every_figure(tmp_path: Path) -> None:
    calls = [call("1", at=NOON - timedelta(days=ago), tenant=tenant) for ago in range(5) for tenant in ("a", "b", "b")]
    known = overview(connect(filled(tmp_path, calls)), NOON, filters={"tenant": ("a",)})
    assert (known.today.calls, known.month.calls, known.daily_average_usd) == (1, 5, Decimal(1))
