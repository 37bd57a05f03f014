"""Sums are plain, complete, and honest about what they leave out."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.analytics import Selection, connect, spend_by, spend_over_time, totals
from spanledger.ledger.schema import DIMENSIONS
from tests.analytics.ledgers import NOON, adjustment, call, filled, in_memory, reversal

WEEK: dict[str, Any] = {"since": NOON - timedelta(days=7), "until": NOON + timedelta(days=1)}
EVERYTHING = Selection(**WEEK)


def only(**filters: tuple[str, ...]) -> Selection:
    return Selection(**WEEK, filters=filters)


def by_key(rows: Any) -> dict[str | None, dict[str, Any]]:
    return {row["key"]: row for row in rows.to_pylist()}


def test_nothing_was_called_and_nothing_spent(tmp_path: Path) -> None:
    sums = totals(connect(tmp_path), EVERYTHING)
    assert (sums.calls, sums.tokens, sums.cost_usd, sums.coverage) == (0, 0, Decimal(0), None)


def test_an_unpriced_call_is_counted_and_not_free() -> None:
    sums = totals(in_memory([call("0.25"), call(None), call(None), call("0.5")]), EVERYTHING)
    assert (sums.calls, sums.unpriced, sums.cost_usd, sums.coverage) == (4, 2, Decimal("0.75"), 0.5)


def test_calls_of_which_none_has_a_price_have_no_cost_rather_than_none() -> None:
    sums = totals(in_memory([call(None)]), EVERYTHING)
    assert sums.cost_usd is None
    assert sums.coverage == 0


def test_a_reversal_takes_a_call_back_and_an_adjustment_corrects_its_cost() -> None:
    wrong, dear = call("0.40"), call("0.30")
    sums = totals(in_memory([call("0.10"), wrong, reversal(wrong), dear, adjustment(dear, "-0.05")]), EVERYTHING)
    assert (sums.calls, sums.input_tokens, sums.cost_usd) == (2, 200, Decimal("0.35"))


def test_a_reversed_unpriced_call_is_no_longer_unpriced() -> None:
    wrong = call(None)
    sums = totals(in_memory([call("0.10"), wrong, reversal(wrong)]), EVERYTHING)
    assert (sums.calls, sums.unpriced, sums.coverage) == (1, 0, 1)


def test_the_range_has_its_beginning_and_not_its_end() -> None:
    day = timedelta(days=1)
    connection = in_memory([call("1", at=NOON), call("2", at=NOON + day), call("4", at=NOON + 2 * day)])
    assert totals(connection, Selection(since=NOON, until=NOON + 2 * day)).cost_usd == 3


def test_the_range_may_be_given_in_any_zone() -> None:
    at = datetime(2026, 11, 18, 23, 30, tzinfo=UTC)
    ahead = datetime.fromisoformat("2026-11-19T00:00:00+01:00")
    sums = totals(in_memory([call("1", at=at)]), Selection(since=ahead, until=ahead + timedelta(hours=1)))
    assert sums.calls == 1


@pytest.mark.parametrize("dimension", [*DIMENSIONS, "tag.team"])
def test_spend_can_be_grouped_and_filtered_by_every_dimension(dimension: str) -> None:
    def of(value: str, cost: str) -> dict[str, Any]:
        named = {"tags": [{"key": "team", "value": value}]} if dimension == "tag.team" else {dimension: value}
        return call(cost, **named)

    connection = in_memory([of("a", "1"), of("a", "2"), of("b", "4")])
    rows = by_key(spend_by(connection, dimension, EVERYTHING))
    assert {key: (row["calls"], row["cost_usd"]) for key, row in rows.items()} == {"a": (2, 3), "b": (1, 4)}
    assert totals(connection, only(**{dimension: ("b",)})).cost_usd == 4
    assert totals(connection, only(**{dimension: ("a", "b")})).cost_usd == 7
    assert totals(connection, only(**{dimension: ("c",)})).calls == 0


@pytest.mark.parametrize("name", ["", "cost_usd", "tag.", "tenant; drop table entries", "tenant) from entries --"])
def test_a_word_that_is_no_dimension_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no dimension"):
        spend_by(connect(tmp_path), name, EVERYTHING)
    with pytest.raises(ValueError, match="is no dimension"):
        Selection(**WEEK, filters={name: ("x",)})


@pytest.mark.parametrize("value", ["'; drop view entries; --", '"', "%", "' or 1=1", "\u0000x", "日本", "a,b]"])
def test_a_value_from_outside_is_only_ever_a_value(value: str) -> None:
    connection = in_memory([call("1", tenant="acme"), call("2", tenant=value.replace("\u0000", ""))])
    assert totals(connection, only(tenant=(value.replace("\u0000", ""),))).cost_usd == 2
    assert totals(connection, EVERYTHING).calls == 2


def test_calls_that_name_no_tenant_are_a_group_and_can_be_asked_for() -> None:
    connection = in_memory([call("1", tenant="acme"), call("2", tenant=None)])
    assert by_key(spend_by(connection, "tenant", EVERYTHING))[None]["cost_usd"] == 2
    assert totals(connection, only(tenant=("",))).cost_usd == 2


def test_filters_on_two_dimensions_must_both_pass(tmp_path: Path) -> None:
    data = filled(
        tmp_path, [call("1", tenant="a", agent="x"), call("2", tenant="a", agent="y"), call("4", tenant="b", agent="x")]
    )
    assert totals(connect(data), only(tenant=("a",), agent=("x",))).cost_usd == 1


def test_a_naive_or_reversed_range_is_refused() -> None:
    with pytest.raises(ValueError, match="since needs a time zone"):
        Selection(since=datetime(2026, 1, 1), until=NOON)
    with pytest.raises(ValueError, match="is before since"):
        Selection(since=NOON, until=NOON - timedelta(seconds=1))


def test_unpriced_values_come_last_and_are_still_there() -> None:
    connection = in_memory([call(None, model="new"), call("0.01", model="cheap"), call("1", model="dear")])
    assert [row["key"] for row in spend_by(connection, "model", EVERYTHING).to_pylist()] == ["dear", "cheap", "new"]


costs = st.none() | st.decimals(min_value=0, max_value=1000, places=9)
keys = st.none() | st.sampled_from("abcdefg")
hours = st.integers(min_value=0, max_value=7 * 24)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(costs, keys, hours), min_size=1, max_size=30), st.integers(min_value=0, max_value=8))
def test_the_rows_of_every_breakdown_add_up_to_the_totals(calls: list[tuple[Decimal | None, str | None, int]], top: int) -> None:
    entries = [call(None if cost is None else str(cost), at=NOON - timedelta(hours=ago), tenant=key) for cost, key, ago in calls]
    connection = in_memory(entries)
    sums = totals(connection, EVERYTHING)
    assert sums.cost_usd == (sum(c for c, _, _ in calls if c is not None) if any(c is not None for c, _, _ in calls) else None)
    for table in (
        spend_by(connection, "tenant", EVERYTHING, top=top),
        spend_over_time(connection, EVERYTHING, step="day"),
        spend_over_time(connection, EVERYTHING, step="hour", dimension="tenant", top=top),
    ):
        rows = table.to_pylist()
        assert sum(row["calls"] for row in rows) == sums.calls == len(calls)
        assert sum(row["unpriced"] for row in rows) == sums.unpriced
        assert sum(row["cost_usd"] or 0 for row in rows) == (sums.cost_usd or 0)
        assert sum(row["input_tokens"] for row in rows) == sums.input_tokens


def test_beyond_the_top_the_rest_is_one_row_that_says_how_many_it_holds() -> None:
    connection = in_memory([call(str(i), tenant=f"t{i}") for i in range(1, 6)])
    rows = spend_by(connection, "tenant", EVERYTHING, top=2).to_pylist()
    assert [(row["key"], row["rest"], row["keys"], row["cost_usd"]) for row in rows] == [
        ("t5", False, 1, 5),
        ("t4", False, 1, 4),
        (None, True, 3, 6),
    ]


def test_a_rest_of_one_keeps_its_name() -> None:
    connection = in_memory([call(str(i), tenant=f"t{i}") for i in range(1, 4)])
    assert [row["key"] for row in spend_by(connection, "tenant", EVERYTHING, top=2).to_pylist()] == ["t3", "t2", "t1"]
    over_time = spend_over_time(connection, EVERYTHING, dimension="tenant", top=2)
    assert sorted(over_time.column("key").to_pylist()) == ["t1", "t2", "t3"]


def test_days_are_utc_days() -> None:
    late = datetime(2026, 11, 17, 23, 59, 59, tzinfo=UTC)
    rows = spend_over_time(in_memory([call("1", at=late), call("2", at=NOON)]), EVERYTHING).to_pylist()
    assert [(row["since"].isoformat(), row["cost_usd"]) for row in rows] == [
        ("2026-11-17T00:00:00+00:00", 1),
        ("2026-11-18T00:00:00+00:00", 2),
    ]
