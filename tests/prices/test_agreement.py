"""Prices agree with genai-prices itself, to the last digit of the ledger's money, over its whole book."""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from itertools import product
from typing import Any

import polars as pl
import pytest
from genai_prices import types as genai
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spanledger.prices import Prices
from spanledger.prices.books.snapshot import CONTEXTS, Snapshot

LAST_DIGIT = Decimal("1e-12")
BOUNDARIES = [128_000, 199_999, 200_000, 200_001, 256_000, 272_000, 272_001, 512_000]

#: The ledger's counters → the library's.
COUNTERS = {
    "input_tokens": "input_tokens", "cache_read_tokens": "cache_read_tokens", "cache_write_tokens": "cache_write_tokens",
    "cache_write_5m_tokens": "cache_write_5m_tokens", "cache_write_1h_tokens": "cache_write_1h_tokens",
    "input_audio_tokens": "input_audio_tokens", "cache_read_audio_tokens": "cache_audio_read_tokens",
    "input_image_tokens": "input_image_tokens", "cache_read_image_tokens": "cache_image_read_tokens",
    "input_video_tokens": "input_video_tokens",
    "output_tokens": "output_tokens", "reasoning_tokens": "output_reasoning_tokens",
    "output_audio_tokens": "output_audio_tokens", "output_image_tokens": "output_image_tokens",
    "characters": "input_characters", "pages": "input_document_pages", "searches": "web_searches",
}  # fmt: skip


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot()


@pytest.fixture(scope="module")
def prices(snapshot: Snapshot) -> Prices:
    return Prices([snapshot], site=False)


def _usage(chance: random.Random, size: int) -> dict[str, int]:
    """Counters of a call in which every part fits into its whole."""
    if chance.random() < 0.3:
        size = chance.choice(BOUNDARIES)
    read = chance.randrange(size + 1)
    write = chance.randrange(size - read + 1)
    audio_read = chance.randrange(read + 1) if chance.random() < 0.3 else 0
    audio = chance.randrange(size - read - write + 1) if chance.random() < 0.3 else 0
    image_read = chance.randrange(read - audio_read + 1) if chance.random() < 0.3 else 0
    image = chance.randrange(size - read - write - audio + 1) if chance.random() < 0.3 else 0
    video = chance.randrange(size - read - write - audio - image + 1) if chance.random() < 0.3 else 0
    hour = chance.randrange(write + 1)
    out = chance.randrange(50_000)
    reasoning = chance.randrange(out + 1) if chance.random() < 0.5 else 0
    spoken = chance.randrange(out - reasoning + 1) if chance.random() < 0.3 else 0
    drawn = chance.randrange(out - reasoning - spoken + 1) if chance.random() < 0.3 else 0
    return {
        "input_tokens": size, "cache_read_tokens": read, "cache_write_tokens": write, "cache_write_1h_tokens": hour,
        "cache_write_5m_tokens": write - hour, "input_audio_tokens": audio + audio_read, "cache_read_audio_tokens": audio_read,
        "input_image_tokens": image + image_read, "cache_read_image_tokens": image_read,
        "input_video_tokens": video, "output_tokens": out, "reasoning_tokens": reasoning,
        "output_audio_tokens": spoken, "output_image_tokens": drawn, "characters": chance.randrange(10_000),
        "pages": chance.randrange(100), "searches": chance.randrange(20),
    }  # fmt: skip


def _theirs(
    provider: genai.Provider, model: genai.ModelInfo, usage: dict[str, int], seconds: float, at: datetime, context: Any
) -> Decimal:
    reported = genai.Usage(**{COUNTERS[name]: value for name, value in usage.items()})
    if seconds:
        reported.audio_seconds = seconds
        reported.input_audio_seconds = seconds
    calculation = model.calc_price(reported, provider, genai_request_timestamp=at, price_context=context)
    with localcontext(prec=60):
        return calculation.total_price.quantize(LAST_DIGIT, ROUND_HALF_EVEN)


Call = tuple[genai.Provider, genai.ModelInfo, datetime, str, dict[str, int], float]


def _agree(prices: Prices, calls: Iterable[Call]) -> int:
    """How many calls cost here what the library says; none may cost anything else."""
    rows: list[dict[str, Any]] = []
    expected: list[Decimal | None] = []
    for provider, model, at, tier, usage, seconds in calls:
        active = [v for v in _variants(model, tier) if v.constraint is None or v.constraint.active(at)]
        context = {k: w for v in active for k, w in v.when.items()} or None
        columns = {name: value for name, value in usage.items() if name != "cache_read_image_tokens"}
        others = [{"key": "cache_read_image_tokens", "value": float(usage.get("cache_read_image_tokens", 0))}]
        rows.append(
            {"provider": provider.id, "model": model.id, "occurred_at": at, "service_tier": tier if active else "standard"}
            | {"audio_seconds": seconds, "other_meters": others}
            | columns
        )
        priced = any(value is not None for value in vars(model.get_prices(at, context)).values())
        expected.append(_theirs(provider, model, usage, seconds, at, context) if priced else None)
    priced_rows = prices.price(pl.DataFrame(rows, infer_schema_length=None))
    wrong = []
    for row, want in zip(priced_rows.iter_rows(named=True), expected, strict=True):
        got = row["cost_usd"]
        if want is None:
            assert got is None or row["cost_state"] == "free"
        elif got is None:
            # The library says zero for a meter without a rate; here a call of which nothing has a rate is unpriced.
            assert row["unpriced_reason"].startswith("no rate for ")
            assert want == 0
        elif got != want:
            wrong.append((row["provider"], row["model"], row["priced_as"], row["service_tier"], row["occurred_at"], got, want))
        assert got is None or got == sum(row[f"{c}_cost_usd"] for c in ("input", "cache_read", "cache_write", "output", "other"))
    assert not wrong, wrong[:10]
    return len(rows)


def _variants(model: genai.ModelInfo, tier: str) -> list[genai.PriceVariant]:
    return [v for v in model.price_variants or () if any(v.when.items() <= c.items() for c in CONTEXTS.get(tier, ()))]


def _at_random(snapshot: Snapshot, seed: int, start: datetime, tier: str) -> Iterator[Call]:
    """A call to every model, at some moment in four years, with all counters."""
    chance = random.Random(seed)
    for provider, model in snapshot.models():
        at = start + timedelta(minutes=chance.randrange(-1_000_000, 1_000_000))
        usage = _usage(chance, int(chance.lognormvariate(8, 3)) % 2_000_000)
        seconds = round(chance.uniform(0, 100), chance.randrange(7)) if chance.random() < 0.2 else 0.0
        yield provider, model, at, tier, usage, seconds


def _at_every_edge(snapshot: Snapshot) -> Iterator[Call]:
    """Calls to every model in every tier that it has, on both sides of every date, hour and size at which its rates change."""
    for provider, model in snapshot.models():
        for tier in ("standard", *(tier for tier in CONTEXTS if _variants(model, tier))):
            ruled = [*(model.prices if isinstance(model.prices, list) else ()), *_variants(model, tier)]
            constraints = [one.constraint for one in ruled if one.constraint is not None]
            days = {c.start_date for c in constraints if isinstance(c, genai.StartDateConstraint)} | {date(2026, 11, 20)}
            clocks = {time(0)} | {
                t for c in constraints if isinstance(c, genai.TimeOfDateConstraint) for t in (c.start_time, c.end_time)
            }
            prices = [one.prices for one in ruled] or [model.prices]
            rates = [rate for price in prices for rate in vars(price).values() if isinstance(rate, genai.TieredPrices)]
            edges = {1_000} | {size for rate in rates for one in rate.tiers for size in (one.start, one.start + 1)}
            for day, clock, before in product(days, clocks, (timedelta(0), timedelta(microseconds=1))):
                at = datetime.combine(day, clock.replace(tzinfo=UTC)) - before
                for size in edges:
                    usage = {
                        "input_tokens": size,
                        "cache_read_tokens": size // 3,
                        "cache_write_tokens": size // 5,
                        "output_tokens": 77,
                    }
                    yield provider, model, at, tier, usage, 0.0


moments = st.datetimes(datetime(2023, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))
tiers = st.sampled_from(["standard", "batch", "flex", "priority", "fast"])


@settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(seed=st.integers(0, 2**32), start=moments, tier=tiers)
def test_every_model_costs_what_the_library_says(
    snapshot: Snapshot, prices: Prices, seed: int, start: datetime, tier: str
) -> None:
    assert _agree(prices, _at_random(snapshot, seed, start, tier)) > 2_000


def test_every_model_costs_what_the_library_says_on_both_sides_of_every_date_hour_and_size(
    snapshot: Snapshot, prices: Prices
) -> None:
    assert _agree(prices, _at_every_edge(snapshot)) > 7_000


@pytest.mark.soak
@settings(
    max_examples=150, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(seed=st.integers(0, 2**32), start=moments, tier=tiers)
def test_three_hundred_thousand_calls_cost_what_the_library_says(
    snapshot: Snapshot, prices: Prices, seed: int, start: datetime, tier: str
) -> None:
    _agree(prices, _at_random(snapshot, seed, start, tier))
