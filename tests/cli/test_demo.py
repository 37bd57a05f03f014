"""The demo's made-up history: reproducible, plausible, and summed independently of the ledger."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.cli.demo.history import MadeCall, history
from spanledger.cli.demo.totals import Totals, expected
from tests.cli.command import here

NOW = datetime(2026, 3, 20, 15, 30, tzinfo=UTC)


def made(days: int = 30, calls: int = 1_500, seed: int = 1, ids: int = 0) -> list[MadeCall]:
    return list(history(NOW, days=days, calls=calls, seed=seed, ids=Random(ids)))


def test_the_same_seed_makes_the_same_history_and_other_ids_other_spans() -> None:
    assert made() == made()
    again = made(ids=1)
    assert [(c.started, c.model, c.input_tokens) for c in again] == [(c.started, c.model, c.input_tokens) for c in made()]
    assert {c.span_id for c in again}.isdisjoint(c.span_id for c in made())


@settings(max_examples=15, deadline=None)
@given(days=st.integers(1, 90), calls=st.integers(1, 400), seed=st.integers(0, 10_000))
def test_every_call_lies_in_its_days_and_adds_up(days: int, calls: int, seed: int) -> None:
    for call in made(days=days, calls=calls, seed=seed):
        assert NOW - timedelta(days=days) < call.started < NOW
        assert call.cache_read_tokens + call.cache_write_tokens <= call.input_tokens
        assert call.reasoning_tokens <= call.output_tokens
        assert call.error is None or call.input_tokens == call.output_tokens == 0
        assert call.seconds > 0


def test_about_as_many_calls_as_asked_for_with_every_kind_among_them() -> None:
    calls = made()
    assert 1_200 < len(calls) < 1_800
    assert len({c.tenant for c in calls}) == 6
    assert len({c.model for c in calls}) > 10
    assert any(c.error for c in calls)
    assert len({c.span_id for c in calls}) == len(calls)


def test_working_days_are_busier_than_sundays() -> None:
    calls = made(days=28)
    by_weekday = [sum(c.started.weekday() == day for c in calls) for day in range(7)]
    assert min(by_weekday[:5]) > 2 * by_weekday[6]


def test_the_expected_cost_of_a_call_is_what_the_price_list_says() -> None:
    # gpt-4o: 2.50, 1.25 and 10 dollars a million for fresh input, cached input and output.
    call = expected(
        provider="openai", model="gpt-4o-2024-08-06", at=NOW, input_tokens=1_000, cache_read_tokens=400, output_tokens=100
    )
    assert call.cost_usd == Decimal("0.0015") + Decimal("0.0005") + Decimal("0.001")
    unknown = expected(provider="vllm", model="house-llm-70b", at=NOW, input_tokens=1_000)
    assert unknown.cost_usd == 0
    assert unknown.unpriced == 1
    total = Totals()
    total.add(call)
    total.add(unknown)
    assert (total.calls, total.input_tokens, total.cost_usd) == (2, 2_000, call.cost_usd)


def test_without_a_collector_it_says_what_to_start(tmp_path) -> None:  # type: ignore[no-untyped-def]
    outcome = here("demo", "--data", str(tmp_path))
    assert outcome.code == 1
    assert "no collector runs over" in outcome.err
    assert "spanledger up" in outcome.err
