"""A quote says of a call what the ledger says of it once it is posted."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.prices import Call, Prices, Quote
from spanledger.prices.books.file import book_of
from spanledger.prices.books.snapshot import Snapshot
from spanledger.prices.meters import COMPONENTS, METERS
from spanledger.prices.rule_form import rule_of
from tests.prices.desks import NOW, At, desk_at

BOOKS = Path(__file__).parent / "books"
ENDS = datetime(2026, 11, 20, tzinfo=UTC)
RULES: tuple[dict[str, Any], ...] = (
    {"provider": "anthropic", "layer": "default", "rates": {"input_mtok": "10"}, "valid_to": ENDS.isoformat()},
    {"provider": "azure", "model": "prod-*", "same_as": "openai/gpt-4o-mini", "valid_to": ENDS.isoformat()},
    {"provider": "vllm", "model": "house-llm", "rates": {"output_mtok": "3", "images_count": "0.01"}, "valid_from": "2026-11-19"},
    {"provider": "openai", "scope": "tenant:acme", "multiplier": "0.88"},
    {"provider": "openai", "scope": "tag:team=search", "multiplier": "0.9", "hours": "08:00-12:00"},
    {"provider": "openai", "model": "gpt-5*", "region": "eu", "multiplier": "1.1"},
)
NAMES = [
    ("openai", "gpt-4o"), ("openai", "gpt-5.4"), ("openai", "gpt-image-1"), ("openai", "whisper-1"),
    ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-nobody-knows"), ("azure", "prod-chat"), ("azure", "gpt-4o"),
    ("vllm", "house-llm"), ("deepseek", "deepseek-chat"), ("gcp.gemini", "gemini-2.5-pro"), ("xai", "grok-4"),
    ("groq", "whisper-large-v3"), ("perplexity", "sonar-pro"), ("cohere", "rerank-v3.5"), ("openrouter", "openai/gpt-4o"),
    ("openai", None), (None, "gpt-4o"), ("black-forest", "hd/1024x1024/painter"),
]  # fmt: skip
BELONGS: list[tuple[Any, str]] = [("tenant", "acme"), ("project", "p"), ("key", "k1"), ("tag", "team=search"), ("tag", "a=b=c")]
WORDS = ("cost_usd", "list_cost_usd", "cost_state", "unpriced_reason", "priced_as", "price_match")


@pytest.fixture(scope="module")
def prices() -> Prices:
    rules = [rule_of(form, f"r{number}") for number, form in enumerate(RULES)]
    return Prices([Snapshot(), book_of((BOOKS / "litellm.json").read_bytes())], rules)


@st.composite
def calls(draw: st.DrawFn) -> tuple[tuple[str | None, str | None], Call]:
    counters: dict[str, float] = {}
    for meter in draw(st.lists(st.sampled_from(METERS), max_size=6, unique=True)):
        whole = st.integers(0, draw(st.sampled_from([3, 5_000, 400_000])))
        counters[meter.counter] = draw(st.floats(0, 5_000) if meter.seconds else whole)
    call = Call(
        at=ENDS + timedelta(minutes=draw(st.integers(-4_000, 4_000))),
        counters=counters,
        service_tier=draw(st.sampled_from([None, "default", "batch", "flex", "priority", "banana"])),
        batch=draw(st.sampled_from([None, False, True])),
        region=draw(st.sampled_from([None, "eu"])),
        variant=draw(st.sampled_from([None, "hd/1024x1024"])),
        belongs=draw(st.lists(st.sampled_from(BELONGS), unique=True)),
    )
    return draw(st.sampled_from(NAMES)), call


def posted(name: tuple[str | None, str | None], call: Call, number: int = 0) -> dict[str, Any]:
    """The entry that telemetry makes of such a call."""
    columns = {meter.counter: call.counters.get(meter.counter) for meter in METERS if meter.column}
    return {
        "entry_id": f"{number:032x}", "kind": "call", "calls": 1, "outcome": "ok", "occurred_at": call.at, "recorded_at": NOW,
        "provider": name[0], "model": name[1], "service_tier": call.service_tier, "batch": call.batch, "region": call.region,
        "variant": call.variant, **columns,
        **{column: next((v for k, v in call.belongs if k == kind), None)
           for kind, column in (("tenant", "tenant"), ("project", "project"), ("key", "api_key_id"))},
        "tags": [{"key": v.split("=", 1)[0], "value": v.split("=", 1)[1]} for k, v in call.belongs if k == "tag"],
        "other_meters": [
            {"key": meter.counter, "value": float(call.counters[meter.counter])}
            for meter in METERS if not meter.column and meter.counter in call.counters
        ],
    }  # fmt: skip


def assert_same(quote: Quote, entry: dict[str, Any]) -> None:
    assert {word: getattr(quote, word) for word in WORDS} == {word: entry[word] for word in WORDS}
    parts = {name: entry[f"{name}_cost_usd"] for name in COMPONENTS}
    assert quote.components == ({} if entry["cost_usd"] is None else parts)
    assert list(quote.flags) == entry["flags"]
    assert quote.revision == entry["price_revision"]


@given(st.lists(calls(), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_a_quote_is_what_the_entry_of_the_same_call_gets(
    prices: Prices, made: list[tuple[tuple[str | None, str | None], Call]]
) -> None:
    rows = [posted(name, call, number) for number, (name, call) in enumerate(made)]
    types = {meter.counter: pl.Float64 if meter.seconds else pl.Int64 for meter in METERS if meter.column}
    pairs = {"tags": pl.String, "other_meters": pl.Float64}
    schema = {name: pl.List(pl.Struct({"key": pl.String, "value": kind})) for name, kind in pairs.items()}
    words = dict.fromkeys(
        ("provider", "model", "service_tier", "region", "variant", "tenant", "project", "api_key_id"), pl.String
    )
    frame = pl.DataFrame(rows, schema_overrides={**types, **schema, **words, "batch": pl.Boolean})
    for (name, call), entry in zip(made, prices.price(frame).iter_rows(named=True), strict=True):
        assert_same(prices.quote(*name, call), entry)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with desk_at(tmp_path) as found:
        yield found


@pytest.mark.parametrize("meter", ["rerank_searches", "code_executions", "map_searches", "images", "video_seconds"])
def test_a_part_without_a_rate_leaves_the_rest_priced_in_quote_and_ledger_alike(at: At, meter: str) -> None:
    call = Call(at=NOW, counters={"input_tokens": 1000, "output_tokens": 100, meter: 3})
    at.post([posted(("openai", "gpt-4o"), call)])
    with at.read() as connection:
        [entry] = connection.sql("select * from entries").to_arrow_table().to_pylist()
    quote = at.desk.prices.quote("openai", "gpt-4o", call)
    assert_same(quote, entry)
    tokens_stand_for_images = meter in ("images", "video_seconds")
    assert (quote.cost_usd, quote.flags) == (Decimal("0.0035"), () if tokens_stand_for_images else ("part_unpriced",))


@pytest.mark.parametrize(("days", "name"), [(-1, "anthropic/*"), (1, None)])
def test_a_default_or_a_stand_in_names_itself_only_as_long_as_it_is_in_force(prices: Prices, days: int, name: str | None) -> None:
    moment = ENDS + timedelta(days=days)
    quote = prices.cost_of("anthropic", "claude-nobody-knows", moment, 1000, 0)
    assert (quote.priced_as, quote.price_match) == (name, "default" if name else None)
    assert quote.cost_state == ("estimated" if name else "unpriced")
    stand_in = prices.cost_of("azure", "prod-chat", moment, 1000, 0)
    assert (stand_in.priced_as, stand_in.price_match) == (("openai/gpt-4o-mini", "rule") if name else (None, None))


def test_models_that_one_rule_prices_alike_for_a_time_are_told_apart_after_it() -> None:
    form = {"provider": "openai", "model": "gpt-4*", "same_as": "openai/gpt-4o-mini", "valid_from": "2026-11-20"}
    prices = Prices(rules=[rule_of(form, "r")])
    for model, cost in (("gpt-4o", "2.5"), ("gpt-4.1", "2"), ("gpt-4-nobody", None)):
        before = prices.cost_of("openai", model, ENDS - timedelta(days=1), 1_000_000, 0)
        assert before.cost_usd == (None if cost is None else Decimal(cost))
        assert before.priced_as == (None if cost is None else f"openai/{model}")
        rows = pl.DataFrame([posted(("openai", m), Call(at=ENDS - timedelta(days=1), counters={"input_tokens": 1_000_000}))
                             for m in ("gpt-4-nobody", model)], infer_schema_length=None)  # fmt: skip
        assert prices.price(rows.drop("tags", "other_meters"))["cost_usd"].to_list() == [None, before.cost_usd]
        after = prices.cost_of("openai", model, ENDS, 1_000_000, 0)
        assert (after.cost_usd, after.priced_as, after.price_match) == (Decimal("0.15"), "openai/gpt-4o-mini", "rule")
