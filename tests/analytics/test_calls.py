"""Calls one by one."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from spanledger.analytics import Selection, connect, errors, extent, latency, latest_calls, unpriced_models
from tests.analytics.ledgers import NOON, adjustment, call, filled, reversal

EVERYTHING = Selection(since=NOON - timedelta(days=7), until=NOON + timedelta(days=1))


def test_the_latest_calls_come_newest_first(tmp_path: Path) -> None:
    data = filled(tmp_path, [call(at=NOON - timedelta(minutes=i), session=str(i)) for i in (3, 1, 2)])
    assert latest_calls(connect(data), EVERYTHING, count=2).column("session").to_pylist() == ["1", "2"]


def test_a_reversed_call_is_not_listed_and_an_adjusted_one_shows_what_it_costs_now(tmp_path: Path) -> None:
    wrong, dear = call("0.40"), call("0.30")
    data = filled(tmp_path, [wrong, reversal(wrong), dear, adjustment(dear, "0.02"), adjustment(dear, "-0.12")])
    assert latest_calls(connect(data), EVERYTHING).column("cost_usd").to_pylist() == [Decimal("0.20")]


def test_an_unpriced_call_is_listed_without_a_cost(tmp_path: Path) -> None:
    (row,) = latest_calls(connect(filled(tmp_path, [call(None, unpriced_reason="no rate")])), EVERYTHING).to_pylist()
    assert (row["cost_usd"], row["cost_state"], row["unpriced_reason"]) == (None, "unpriced", "no rate")


def test_failed_calls_can_be_listed_alone_and_are_told_apart_by_their_error(tmp_path: Path) -> None:
    failed: dict[str, Any] = {"outcome": "error", "error_type": "429"}
    connection = connect(
        filled(tmp_path, [call(), call("0", **failed), call("0", **failed), call("0", outcome="error", error_type="500")])
    )
    assert latest_calls(connection, EVERYTHING, outcome="error").num_rows == 3
    assert latest_calls(connection, EVERYTHING, outcome="ok").num_rows == 1
    assert [(row["error_type"], row["calls"]) for row in errors(connection, EVERYTHING).to_pylist()] == [("429", 2), ("500", 1)]


def test_models_without_a_price_are_listed_with_what_they_used(tmp_path: Path) -> None:
    connection = connect(filled(tmp_path, [call(), call(None, model="new"), call(None, model="new")]))
    (row,) = unpriced_models(connection, EVERYTHING).to_pylist()
    assert (row["model"], row["calls"], row["input_tokens"]) == ("new", 2, 200)


def test_a_quick_refusal_does_not_make_a_model_look_fast(tmp_path: Path) -> None:
    refused = call("0", outcome="error", duration_seconds=0.001)
    connection = connect(filled(tmp_path, [call(duration_seconds=2.0), call(duration_seconds=4.0), refused]))
    (row,) = latency(connection, EVERYTHING).to_pylist()
    assert (row["calls"], row["duration_p50"]) == (2, 3.0)


def test_the_extent_says_how_far_the_ledger_reaches(tmp_path: Path) -> None:
    assert extent(connect(tmp_path / "none")).first_at is None
    known = extent(connect(filled(tmp_path / "some", [call(at=NOON), call(at=NOON - timedelta(days=3))])))
    assert (known.first_at, known.last_at, known.calls) == (NOON - timedelta(days=3), NOON, 2)
