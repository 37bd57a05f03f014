"""Questions before a call: tokens of a text, comparison across models, one's own traffic on another, fixed costs."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanledger.collector.pricing.queries import rows
from spanledger.collector.pricing.traffic import instead, traffic
from spanledger.prices import Call, Prices
from spanledger.prices.books.file import book_of
from spanledger.prices.books.snapshot import Snapshot
from spanledger.prices.cell import microseconds
from spanledger.prices.compare import Wanted, compare
from spanledger.prices.tokens import _encoder, count_tokens
from tests.prices.desks import NOW, At, desk_at

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOOKS = Path(__file__).parent / "books"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with desk_at(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices([Snapshot(), book_of((BOOKS / "models_dev.json").read_bytes())])


@pytest.mark.parametrize(
    "text", ["", "a", "The quick brown fox jumps over the lazy dog. " * 40, "x" * 20_000, "\x00\ud7af😀" * 50]
)
def test_any_text_has_a_count_within_its_bounds(text: str) -> None:
    for model in ("", "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro", "unheard-of"):
        found = count_tokens(text, model)
        assert 0 <= found.least <= found.tokens <= found.most
        assert bool(found.tokens) == bool(text)


def test_the_formula_is_near_the_vocabulary() -> None:
    exact = _encoder("o200k_base")
    if exact is None:
        pytest.skip("splintr-rs is not installed")
    words = (Path(__file__).parent.parent.parent / "docs" / "words.md").read_text()
    code = Path(__file__).read_text()
    for text in (words, code):
        by_formula = count_tokens(text, "unheard-of")
        assert by_formula.method == "formula"
        assert by_formula.least <= exact(text) <= by_formula.most


def test_the_cheapest_that_fits_comes_first(prices: Prices) -> None:
    wanted = Wanted(call=Call(counters={"input_tokens": 10_000, "output_tokens": 1_000}, at=AT))
    found = compare(prices, wanted, [("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-4"), ("x", "unheard-of")])
    assert [(one.model, one.cost_usd) for one in found] == [
        ("gpt-4o-mini", Decimal("0.0021")), ("gpt-4o", Decimal("0.035")), ("unheard-of", None), ("gpt-4", Decimal("0.36")),
    ]  # fmt: skip
    assert found[3].unfit == "its context window is 8192 tokens"


def test_a_model_must_be_known_to_do_what_is_asked(prices: Prices) -> None:
    wanted = Wanted(call=Call(counters={"input_tokens": 1000}, at=AT), abilities=frozenset({"tools", "audio"}))
    found = {
        one.model: one.unfit
        for one in compare(prices, wanted, [("google", "gemini-2.5-pro"), ("openai", "gpt-4o"), ("openai", "o3-pro")])
    }
    assert found == {
        "gemini-2.5-pro": None, "gpt-4o": "it has no audio", "o3-pro": "no book says what it can do",
    }  # fmt: skip
    with pytest.raises(ValueError, match="abilities"):
        Wanted(call=Call(counters={}, at=AT), abilities=frozenset({"juggling"}))


def test_all_models_can_be_compared_at_once(prices: Prices) -> None:
    found = compare(prices, Wanted(call=Call(counters={"input_tokens": 1000, "output_tokens": 100}, at=AT)))
    assert len(found) > 2_000
    priced = [one.cost_usd for one in found if one.unfit is None and one.cost_usd is not None]
    assert priced == sorted(priced)


def test_my_own_calls_on_another_model(at: At) -> None:
    at.post([{}, {"input_tokens": 9_000}, {"model": "unheard-of"}, {"outcome": "error", "input_tokens": None}])
    with at.read() as connection:
        calls = traffic(connection, NOW - timedelta(days=30), NOW + timedelta(days=1))
    mini = instead(at.desk.prices, calls, "openai", "gpt-4o-mini")
    assert (mini.calls, mini.was_usd, mini.would_be_usd) == (2, Decimal("0.027"), Decimal("0.00162"))
    assert mini.unpriced == 1
    small = instead(at.desk.prices, calls, "openai", "gpt-4")
    assert (small.calls, small.does_not_fit) == (1, 1)


def test_models_whose_reported_cost_is_far_off_are_listed(at: At) -> None:
    near, far = Decimal("0.0036"), Decimal("0.05")
    at.post(
        [
            {"reported_cost_usd": near},
            {"model": "o3", "reported_cost_usd": far},
            {"model": "gpt-4", "reported_cost_usd": Decimal(0)},
            {"model": "gpt-4.1", "reported_cost_usd": Decimal("0.0008")},  # two that are as far off in opposite ways
            {"model": "gpt-4.1", "reported_cost_usd": Decimal("0.0048")},
        ]
    )
    with at.read() as connection:
        found = rows(
            connection, "reported", since=NOW - timedelta(days=1), until=NOW + timedelta(days=1), share=Decimal("0.05"),
            least_usd=Decimal("0.001"),
        )  # fmt: skip
    listed = [(one["model"], one["reported_usd"], one["computed_usd"], one["apart_usd"]) for one in found]
    assert listed == [
        ("o3", far, Decimal("0.0028"), Decimal("0.0472")),
        ("gpt-4.1", Decimal("0.0056"), Decimal("0.0056"), Decimal("0.0040")),
    ]


def test_a_worst_case_is_never_below_what_a_call_costs(prices: Prices) -> None:
    chance = random.Random(3)
    for provider, model in chance.sample(prices.layers.books[0].listed(), 200):
        size, out = chance.randrange(300_000), chance.randrange(10_000)
        write = chance.randrange(size + 1)
        most = prices.most(provider=provider, model=model, at=microseconds(AT), input_tokens=size, output_tokens=out)
        real = prices.cost_of(
            provider, model, AT, size, out, cache_write_tokens=write, cache_write_1h_tokens=write // 2, reasoning_tokens=out // 3
        )
        if real.unpriced_reason is None and real.cost_usd is not None:
            assert isinstance(most, int), most
            assert most >= real.cost_usd.scaleb(12)


@pytest.mark.parametrize("operation", [None, "chat", "embeddings"])
def test_what_a_model_has_no_rate_for_leaves_the_worst_case_of_the_rest_as_in_the_ledger(
    prices: Prices, operation: str | None
) -> None:
    asked: dict[str, Any] = {"at": microseconds(AT), "input_tokens": 1000, "output_tokens": 4096, "operation": operation}
    assert prices.most(provider="openai", model="text-embedding-3-small", **asked) == 20_000_000
    real = prices.cost_of("openai", "text-embedding-3-small", AT, 1000, 4096)
    assert (real.cost_state, real.cost_usd) == ("priced", Decimal("0.00002"))
    neither = "no rate for input_tokens" if operation == "embeddings" else "no rate for input_tokens, output_tokens"
    assert prices.most(provider="groq", model="whisper-large-v3", **asked) == neither


def test_an_unknown_counter_is_refused_by_name(prices: Prices) -> None:
    with pytest.raises(ValueError, match="not a counter: bananas"):
        prices.cost_of("openai", "gpt-4o", AT, 1, 1, bananas=3)
