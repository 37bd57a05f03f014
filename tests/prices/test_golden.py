"""Calls whose cost was worked out by hand, or from a source that knows nothing of the book that is under test.

Each line of `golden.jsonl` has the rates and where they stand: the provider's own page, as known or as LiteLLM's map
of November 2026 cites it; `cost_usd` was computed from those rates alone.
"""

import json
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.prices import Prices
from spanledger.prices.meters import BY_RATE_KEY, CHARGED

CALLS: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "golden.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices()


def test_there_are_at_least_two_hundred_and_each_names_its_source() -> None:
    assert len(CALLS) >= 200
    assert all(call["source"].startswith("https://") for call in CALLS)
    assert len({(call["provider"], call["model"]) for call in CALLS}) >= 60


def test_every_call_costs_what_was_worked_out(prices: Prices) -> None:
    entries = pl.DataFrame(
        [
            {
                "provider": call["provider"],
                "model": call["model"],
                "service_tier": call["service_tier"],
                "occurred_at": datetime.fromisoformat(call["at"]),
                **call["counters"],
            }
            for call in CALLS
        ],
        infer_schema_length=None,
    )
    priced = prices.price(entries)
    wrong = [
        (call["model"], call["kind"], call["cost_usd"], got)
        for call, got in zip(CALLS, priced["cost_usd"], strict=True)
        if got != Decimal(call["cost_usd"])
    ]
    assert not wrong


def test_the_stated_cost_follows_from_the_stated_rates() -> None:
    """Guards the file itself: a slip in it would make the engine look wrong, or worse, right."""
    for call in CALLS:
        counters = call["counters"]
        rates = {BY_RATE_KEY[key].counter: Decimal(rate) / BY_RATE_KEY[key].per for key, rate in call["rates"].items()}
        total = Decimal(0)
        for counter, rate in rates.items():
            amount = sum(Decimal(str(counters.get(name, 0))) * weight for name, weight in CHARGED[counter].items())
            if counter == "cache_write_tokens":
                amount += counters.get("cache_write_5m_tokens", 0)
            total += amount * rate
        if call["kind"] == "at least ten seconds":
            total = Decimal(10) * rates["audio_seconds"]
        assert total.quantize(Decimal("1e-12"), ROUND_HALF_EVEN) == Decimal(call["cost_usd"]), call
