"""A projection is arithmetic that can be checked by hand, and knows how far it has been off."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanledger.analytics.projection import ENOUGH_TRIALS, LATELY, Day, daily_average, full_days, project, usual_by_now

TODAY = date(2026, 11, 18)  # a Wednesday, twelve days before the end of November


def days(*costs: str | int, until: date = TODAY, later: str = "0.5") -> list[Day]:
    """Full days up to yesterday; `later` is the share of each that came after this time of day."""
    first = until - timedelta(days=len(costs))
    return [
        Day(day=first + timedelta(days=i), cost_usd=Decimal(cost), later_cost_usd=Decimal(cost) * Decimal(later))
        for i, cost in enumerate(costs)
    ]


def test_without_a_full_day_nothing_is_projected() -> None:
    assert project([], today=TODAY, month_to_date_usd=Decimal(3)) is None
    assert daily_average([]) is None
    assert usual_by_now([], TODAY) is None


def test_every_day_to_come_costs_what_days_cost_lately() -> None:
    projection = project(days(10, 20), today=TODAY, month_to_date_usd=Decimal(100))
    assert projection is not None
    # Half of a mean day of 15 is still to come today, and twelve such days after it.
    assert projection.cost_usd == 100 + Decimal("7.5") + 12 * 15
    assert (projection.low_usd, projection.by_weekday) == (None, False)
    assert projection.method == "Mean of the last 2 full days. Too little history for an interval."


def test_with_four_weeks_behind_it_a_weekend_is_projected_from_weekends() -> None:
    costs = [0 if (TODAY - timedelta(days=LATELY - i)).weekday() >= 5 else 7 for i in range(LATELY)]
    projection = project(days(*costs, later="0"), today=TODAY, month_to_date_usd=Decimal(0))
    assert projection is not None
    assert projection.by_weekday
    # 19, 20, 23–27 and 30 November are the eight working days that are left.
    assert projection.cost_usd == 8 * 7


def test_steady_spend_is_projected_exactly_and_without_doubt() -> None:
    projection = project(days(*[4] * 60), today=TODAY, month_to_date_usd=Decimal(70))
    assert projection is not None
    assert projection.low_usd == projection.high_usd == projection.cost_usd == 70 + 2 + 12 * 4
    assert projection.trials >= ENOUGH_TRIALS


def test_spend_that_keeps_growing_has_come_out_above_its_projections_and_the_interval_says_so() -> None:
    projection = project(days(*range(1, 71)), today=TODAY, month_to_date_usd=Decimal(0))
    assert projection is not None
    assert projection.low_usd is not None
    assert projection.low_usd > projection.cost_usd


def test_on_the_last_day_of_a_month_only_the_rest_of_the_day_is_to_come() -> None:
    last = date(2026, 11, 30)
    projection = project(days(10, 10, until=last, later="0.25"), today=last, month_to_date_usd=Decimal(50))
    assert projection is not None
    assert projection.cost_usd == Decimal("52.5")


@pytest.mark.parametrize("today", [date(2026, 12, 31), date(2028, 2, 1), date(2026, 1, 31)])
def test_any_day_of_any_month_can_be_projected_from(today: date) -> None:
    assert project(days(*[1] * 40, until=today), today=today, month_to_date_usd=Decimal(0)) is not None


def test_a_day_without_entries_cost_nothing_and_the_ledgers_first_day_is_not_full() -> None:
    known = [Day(day=TODAY - timedelta(days=ago), cost_usd=Decimal(8), later_cost_usd=Decimal(2)) for ago in (4, 2, 0)]
    history = full_days(known, since=TODAY - timedelta(days=84), today=TODAY)
    assert [(day.day, day.cost_usd) for day in history] == [
        (TODAY - timedelta(days=3), Decimal(0)),
        (TODAY - timedelta(days=2), Decimal(8)),
        (TODAY - timedelta(days=1), Decimal(0)),
    ]
    assert len(full_days(known, since=TODAY - timedelta(days=4), today=TODAY)) == 4


def test_what_is_usual_by_now_leaves_out_what_usually_comes_later() -> None:
    assert usual_by_now(days(10, 20, later="0.2"), TODAY) == 12


amounts = st.decimals(min_value=0, max_value=10_000, places=6)


@given(st.lists(amounts, min_size=1, max_size=84), amounts)
def test_a_projection_is_never_below_what_is_already_spent(costs: list[Decimal], spent: Decimal) -> None:
    projection = project(days(*map(str, costs)), today=TODAY, month_to_date_usd=spent)
    assert projection is not None
    assert projection.cost_usd >= spent
    if projection.low_usd is not None:
        assert projection.high_usd is not None
        assert spent <= projection.low_usd <= projection.high_usd


@given(st.lists(amounts, min_size=1, max_size=60), st.decimals(min_value=1, max_value=50, places=2))
def test_twice_the_spend_is_twice_the_projection(costs: list[Decimal], factor: Decimal) -> None:
    once = project(days(*map(str, costs)), today=TODAY, month_to_date_usd=Decimal(0))
    more = project(days(*(str(cost * factor) for cost in costs)), today=TODAY, month_to_date_usd=Decimal(0))
    assert once is not None
    assert more is not None
    assert abs(more.cost_usd - once.cost_usd * factor) < Decimal("1e-9")
