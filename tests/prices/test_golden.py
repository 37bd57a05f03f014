"""Calls whose cost was worked out by hand, or from a source that knows nothing of the book that is under test.

Each line of `golden.jsonl` has the rates and where they stand: the provider's own page, as known or as LiteLLM's map
of November 2026 cites it; `cost_usd` was computed from those rates alone, and `by_hand` says how where more than tokens of text
are charged. A line with a `book` is about a price that only an imported file has.
"""

import json
import re
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.prices import Prices
from spanledger.prices.books.file import book_of
from spanledger.prices.books.snapshot import installed
from spanledger.prices.meters import BY_COUNTER, BY_RATE_KEY, CHARGED, METERS

CALLS: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "golden.jsonl").read_text().splitlines()]


LITELLM = (Path(__file__).parent / "books" / "litellm.json").read_bytes()


@pytest.fixture(scope="module", params=["", "litellm"])
def prices(request: pytest.FixtureRequest) -> Prices:
    """The installed book, and that book with LiteLLM's behind it."""
    return Prices([installed(), book_of(LITELLM)] if request.param else [installed()])


def test_there_are_at_least_two_hundred_and_each_names_its_source() -> None:
    assert len(CALLS) >= 200
    assert all(call["source"].startswith("https://") for call in CALLS)
    assert len({(call["provider"], call["model"]) for call in CALLS}) >= 60
    assert {
        meter.rate_key for meter in METERS if "image" in meter.counter or "video" in meter.counter or "page" in meter.counter
    } <= {unit for call in CALLS for unit in call["rates"]}


def entry(call: dict[str, Any]) -> dict[str, Any]:
    """A call as the ledger has it."""
    columns = {name: count for name, count in call["counters"].items() if BY_COUNTER[name].column}
    others = [{"key": name, "value": float(count)} for name, count in call["counters"].items() if name not in columns]
    return {
        "provider": call["provider"], "model": call["model"], "service_tier": call["service_tier"],
        "variant": call.get("variant"), "occurred_at": datetime.fromisoformat(call["at"]), **columns, "other_meters": others,
    }  # fmt: skip


def test_every_call_costs_what_was_worked_out(prices: Prices) -> None:
    known = {book.name for book in prices.layers.books}
    calls = [call for call in CALLS if call.get("book", "genai-prices") in known]
    entries = pl.DataFrame([entry(call) for call in calls], infer_schema_length=None)
    priced = prices.price(entries)
    wrong = [
        (call["model"], call["kind"], call["cost_usd"], got)
        for call, got in zip(calls, priced["cost_usd"], strict=True)
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


def test_what_was_worked_out_by_hand_comes_to_the_stated_cost() -> None:
    by_hand = [call for call in CALLS if "by_hand" in call]
    assert len(by_hand) >= 25
    for call in by_hand:
        terms = re.split(r" =|: | at | for ", call["by_hand"].replace(",", ""))[0].replace("M", "1000000").split(" + ")
        products = ([Fraction(number) for number in re.split(r" × |/", term)] for term in terms)
        total = sum(many * each / (per[0] if per else 1) for many, each, *per in products)
        assert total == Fraction(call["cost_usd"]), call
