"""Fixed monthly costs: a share for every day, which sum to the month's amount however rules cut it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanledger.collector.pricing.monthly import _shares, due
from spanledger.prices.settings import Settings
from tests.prices.desks import NOW, At, desk_at


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with desk_at(tmp_path) as found:
        yield found


def test_the_days_of_a_month_sum_to_its_amount_and_posting_twice_posts_nothing(at: At) -> None:
    at.desk.make(
        [{"provider": "azure", "model": "ptu-100", "scope": "tenant:acme", "monthly_usd": "1000", "valid_from": "2026-10-01",
          "valid_to": "2026-11-01", "note": "provisioned"}],
        who="me",
    )  # fmt: skip
    assert at.desk.post_monthly() == 31
    assert at.total() == Decimal(1000)
    assert at.desk.post_monthly() == 0
    told = at.sql("select distinct kind, calls, tenant, cost_state, price_revision from entries")
    assert told == [("adjustment", 0, "acme", "priced", at.desk.prices.revision)]


def test_a_corrected_monthly_cost_corrects_the_days_before(at: At) -> None:
    form = {"monthly_usd": "300", "valid_from": "2026-11-01", "note": "seats"}
    rule = at.desk.make([form], who="me")[0]
    at.desk.post_monthly()
    assert at.total() == Decimal(220)  # up to and with the 22nd
    rule = at.desk.change(rule["id"], {"monthly_usd": "600"}, who="me")
    at.desk.post_monthly()
    assert at.total() == Decimal(440)
    at.desk.change(rule["id"], {"valid_to": "2026-11-11"}, who="me")
    at.desk.post_monthly()
    assert at.total() == Decimal(200)
    with at.read() as connection:
        assert due(connection, at.desk.rules, now=NOW, revision="r").height == 0


def test_a_cost_that_changes_within_a_day_is_shared_by_how_long_each_lasts(at: At) -> None:
    first = at.desk.make([{"monthly_usd": "3000", "valid_from": "2026-11-01", "note": "ptu"}], who="me")[0]
    second = {"monthly_usd": "6000", "valid_from": "2026-11-15T12:00:00Z", "note": "twice as many"}
    at.desk.make([second], who="me", supersede=first["id"])
    at.desk.post_monthly()
    days = dict(at.sql("select day, sum(cost_usd) from entries where day between '2026-11-14' and '2026-11-16' group by day"))
    assert days == {date(2026, 11, 14): Decimal(100), date(2026, 11, 15): Decimal(150), date(2026, 11, 16): Decimal(200)}


MONTHS = st.sampled_from([datetime(2026, month, 1, tzinfo=UTC) for month in (2, 4, 10)] + [datetime(2024, 2, 1, tzinfo=UTC)])


@given(
    amount=st.decimals("0.000000000001", "9999999", places=12), month=MONTHS,
    cuts=st.lists(st.integers(1, 28 * 86_400_000_000 - 1), max_size=6, unique=True),
)  # fmt: skip
def test_however_a_month_is_cut_its_days_sum_to_its_amount(amount: Decimal, month: datetime, cuts: list[int]) -> None:
    ends = (month + timedelta(days=31)).replace(day=1)
    moments = [month, *(month + timedelta(microseconds=cut) for cut in sorted(cuts)), ends]
    rules = [{"monthly_usd": amount, "valid_from": since, "valid_to": until} for since, until in pairwise(moments)]
    whole = {"monthly_usd": amount, "valid_from": month, "valid_to": None}
    days: dict[date, Decimal] = {}
    for rule in rules:
        for day, share in _shares(rule, NOW):
            days[day] = days.get(day, Decimal(0)) + share
    assert sum(days.values()) == amount
    assert days == {day: share for day, share in _shares(whole, NOW) if month.date() <= day < ends.date()}


def test_in_development_a_fixed_cost_is_listed_and_costs_nothing_then_or_later(at: At) -> None:
    sums = "select sum(cost_usd), sum(other_cost_usd), sum(list_cost_usd), string_agg(distinct cost_state, ' ') from entries"
    at.desk.prices.settings = Settings(profile="development")
    rule = at.desk.make([{"monthly_usd": "300", "valid_from": "2026-11-21", "note": "seats"}], who="me")[0]
    assert at.desk.post_monthly() == 2
    assert at.sql(sums) == [(Decimal(0), Decimal(0), Decimal(20), "free")]
    assert at.desk.post_monthly() == 0
    at.desk.prices.settings = Settings()
    assert at.desk.post_monthly() == 0
    at.desk._clock = lambda: NOW + timedelta(days=1)
    assert at.desk.post_monthly() == 1
    assert at.sql(sums)[0][:3] == (Decimal(10), Decimal(10), Decimal(30))
    at.desk.change(rule["id"], {"valid_to": "2026-11-22"}, who="me")
    at.desk.post_monthly()
    assert at.sql(sums)[0][:3] == (Decimal(0), Decimal(0), Decimal(10))
