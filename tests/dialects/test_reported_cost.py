"""What senders say a call cost: one bound for all of them, and a zero only from those who mean it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from spanledger.prices import Prices
from tests.dialects.bodies import received
from tests.dialects.counting import entries_of, standing
from tests.dialects.spans import body_of, chat


def told(scope: str = "my.app", **attributes: Any) -> dict[str, Any]:
    """The one call of a span with these attributes (`__` for a dot)."""
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    body = body_of(chat(scope=scope, attributes={"gen_ai.provider.name": "openrouter", **named}))
    (call,) = standing(entries_of([[received(json.loads(body.body), "traces")]]))
    return call


@pytest.mark.parametrize("value", [5e6, 1_000_000.01, 1e300, -5, -0.01, float("inf"), "much", True])
def test_a_cost_that_can_be_none_is_left_out_and_flagged(value: Any) -> None:
    call = told(gen_ai__usage__cost=value)
    assert (call["reported_cost_usd"], "cost_invalid" in call["flags"]) == (None, True)
    assert (call["input_tokens"], "tokens_invalid" in call["flags"]) == (1000, False)


@pytest.mark.parametrize("value", ['{"total": 5e6}', '{"total": -3}'])
def test_an_embedded_cost_has_the_same_bound(value: str) -> None:
    call = told(scope="langfuse-sdk", langfuse__observation__type="generation", langfuse__observation__cost_details=value)
    assert (call["reported_cost_usd"], "cost_invalid" in call["flags"]) == (None, True)


def test_a_cost_in_millionths_has_the_same_bound() -> None:
    assert told(cost_usd_micros=10**12)["reported_cost_usd"] == Decimal(1_000_000)
    assert "cost_invalid" in told(cost_usd_micros=10**12 + 1)["flags"]


@pytest.mark.parametrize("value", [-1, "", "none", float("nan")])
def test_what_emitters_write_for_an_unknown_cost_is_no_fault(value: Any) -> None:
    call = told(gen_ai__usage__cost=value)
    assert (call["reported_cost_usd"], "cost_invalid" in call["flags"]) == (None, False)


@pytest.mark.parametrize("value", [0, 0.0, 1e-15])
def test_zero_is_a_cost_where_the_providers_answer_is_copied_and_means_unknown_elsewhere(value: float) -> None:
    for scope in ("spanledger.instrumentation", "my.app"):
        assert told(scope=scope, gen_ai__usage__cost=value)["reported_cost_usd"] == Decimal(0)
    for scope in ("openlit.otel.tracing", "litellm", "openinference.instrumentation.litellm", "pydantic-ai"):
        assert told(scope=scope, gen_ai__usage__cost=value)["reported_cost_usd"] is None


def test_credits_at_openrouter_cost_nothing_and_the_list_cost_stays() -> None:
    call = told(gen_ai__usage__cost=0.0)
    columns = ("provider", "model", "reported_cost_usd", "input_tokens", "output_tokens")
    frame = pl.DataFrame([{name: call[name] for name in columns} | {"occurred_at": datetime(2026, 11, 20, tzinfo=UTC)}])
    frame = frame.with_columns(pl.lit("openai/gpt-4o").alias("model"), pl.col("reported_cost_usd").cast(pl.Decimal(20, 12)))
    row = Prices().price(frame).row(0, named=True)
    assert (row["cost_usd"], row["cost_state"], row["list_cost_usd"]) == (Decimal(0), "reported", Decimal("0.0045"))
