"""What an entry says of its money: priced, unpriced and why, free, reported, estimated; and what is odd about it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from spanledger.collector.settings import PricesProcessor
from spanledger.ledger.frame import conform
from spanledger.ledger.schema import GROUPS
from spanledger.prices import Prices
from spanledger.prices.rule_form import rule_of
from spanledger.prices.settings import Precedence, Settings

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
PARTS = ("input", "cache_read", "cache_write", "output", "other")


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices()


def one(prices: Prices, **columns: Any) -> dict[str, Any]:
    """One priced call of gpt-4o, but for what is given."""
    row = {"provider": "openai", "model": "gpt-4o", "occurred_at": AT, "input_tokens": 1000, "output_tokens": 100, **columns}
    schema = {"reported_cost_usd": pl.Decimal(20, 12), "flags": pl.List(pl.String)}
    frame = pl.DataFrame([row], schema_overrides={name: kind for name, kind in schema.items() if name in row})
    return prices.price(frame).row(0, named=True)


def test_a_priced_entry_has_every_money_column_and_fits_the_ledger(prices: Prices) -> None:
    row = {"provider": "openai", "model": "gpt-4o", "occurred_at": AT, "input_tokens": 1000, "output_tokens": 100}
    priced = prices.price(pl.DataFrame([row]))
    assert {field.name for field in GROUPS["money"]} <= set(priced.columns)
    whole = priced.with_columns(
        entry_id=pl.lit("a" * 32), kind=pl.lit("call"), recorded_at=pl.lit(AT), day=pl.lit(AT.date()), calls=pl.lit(1),
        outcome=pl.lit("ok"),
    )  # fmt: skip
    assert conform(whole).column("cost_usd").to_pylist() == [Decimal("0.003500000000")]


def test_an_empty_batch_stays_empty(prices: Prices) -> None:
    empty = pl.DataFrame(schema={"provider": pl.String, "model": pl.String, "occurred_at": pl.Datetime("us", "UTC")})
    assert prices.price(empty).height == 0
    assert "cost_usd" in prices.price(empty).columns


def test_the_revision_names_the_book_its_version_and_its_hash(prices: Prices) -> None:
    revision = one(prices)["price_revision"]
    assert revision.startswith("genai-prices 0.2.")
    assert "sha256:" in revision
    assert prices.layers.books[0].sha256 in revision


def test_a_call_that_tells_no_usage_is_unpriced(prices: Prices) -> None:
    row = one(prices, input_tokens=None, output_tokens=None)
    assert (row["cost_usd"], row["cost_state"], row["unpriced_reason"]) == (None, "unpriced", "no usage reported")


def test_a_failed_call_without_usage_costs_nothing(prices: Prices) -> None:
    row = one(prices, input_tokens=None, output_tokens=None, outcome="error")
    assert (row["cost_usd"], row["cost_state"], row["unpriced_reason"]) == (Decimal(0), "free", None)


def test_a_failed_call_with_usage_costs_what_it_used(prices: Prices) -> None:
    assert one(prices, outcome="error")["cost_usd"] == Decimal("0.0035")


def test_a_stream_that_broke_off_without_usage_is_not_free(prices: Prices) -> None:
    row = one(prices, input_tokens=None, output_tokens=None, outcome="error", cut_short=True)
    assert row["cost_state"] == "unpriced"


def test_a_duplicate_costs_nothing(prices: Prices) -> None:
    row = one(prices, kind="duplicate", input_tokens=None, output_tokens=None, calls=0)
    assert (row["cost_usd"], row["cost_state"], row["priced_as"]) == (Decimal(0), "free", None)


def test_an_entry_that_comes_with_its_money_keeps_it(prices: Prices) -> None:
    cost = pl.Series("cost_usd", [Decimal("-7.000000000000"), None], pl.Decimal(20, 12))
    entries = pl.DataFrame(
        {
            "kind": ["reversal", "call"], "provider": ["openai"] * 2, "model": ["gpt-4o"] * 2, "occurred_at": [AT] * 2,
            "input_tokens": [-1000, 1000], "cost_state": ["priced", None], "price_revision": ["older", None],
        }
    ).with_columns(cost)  # fmt: skip
    priced = prices.price(entries)
    assert priced["cost_usd"].to_list() == [Decimal(-7), Decimal("0.0025")]
    assert priced["price_revision"].to_list() == ["older", prices.revision]


def test_a_reversal_without_money_is_the_negative(prices: Prices) -> None:
    row = one(prices, kind="reversal", calls=-1, input_tokens=-1000, output_tokens=-100)
    assert row["cost_usd"] == Decimal("-0.0035")
    assert sum(row[f"{part}_cost_usd"] for part in PARTS) == row["cost_usd"]


def test_an_unknown_tier_is_unpriced_and_says_which(prices: Prices) -> None:
    row = one(prices, service_tier="scale")
    assert (row["cost_usd"], row["unpriced_reason"]) == (None, "no rate for tier scale")
    assert "context_unmatched" in row["flags"]


@pytest.mark.parametrize("spelled", ["default", "standard", "auto", "on_demand", "DEFAULT", "", None])
def test_every_spelling_of_the_standard_tier_is_the_standard_tier(prices: Prices, spelled: str | None) -> None:
    assert one(prices, service_tier=spelled)["cost_usd"] == Decimal("0.0035")


def test_a_batch_before_the_book_knows_batches_is_half_price_and_an_estimate(prices: Prices) -> None:
    row = one(prices, batch=True, occurred_at=datetime(2026, 9, 1, tzinfo=UTC))
    assert (row["cost_usd"], row["cost_state"]) == (Decimal("0.00175"), "estimated")
    assert "batch_half_assumed" in row["flags"]


def test_a_batch_that_the_book_knows_is_priced(prices: Prices) -> None:
    row = one(prices, batch=True)
    assert (row["cost_usd"], row["cost_state"]) == (Decimal("0.00175"), "priced")


def test_an_input_that_leaves_the_cache_out_is_read_as_such(prices: Prices) -> None:
    row = one(prices, provider="anthropic", model="claude-sonnet-4-5", input_tokens=10, cache_read_tokens=1000, output_tokens=0)
    assert row["cost_usd"] == Decimal("0.00033")
    assert "counters_inconsistent" in row["flags"]


def test_parts_that_exceed_their_whole_are_flagged_and_never_negative(prices: Prices) -> None:
    row = one(prices, output_tokens=10, reasoning_tokens=500)
    assert "counters_inconsistent" in row["flags"]
    assert all(row[f"{part}_cost_usd"] >= 0 for part in PARTS)


def test_a_meter_without_a_rate_is_unpriced_in_that_part_and_says_so(prices: Prices) -> None:
    row = one(prices, model="o3", searches=2, other_meters=[{"key": "code_executions", "value": 3.0}])
    assert row["cost_usd"] == Decimal("0.0028") + Decimal("0.02")
    assert row["unpriced_reason"] == "no rate for code_executions"
    assert "part_unpriced" in row["flags"]


def test_who_charges_tokens_counts_images_and_seconds_for_information(prices: Prices) -> None:
    row = one(prices, images=2, audio_seconds=4.5)
    assert (row["cost_usd"], row["unpriced_reason"], row["flags"]) == (Decimal("0.0035"), None, [])
    assert prices.cost_of("openai", "gpt-4o", AT, 1000, 100, images=2).cost_usd == Decimal("0.0035")


def test_who_charges_seconds_counts_tokens_for_information(prices: Prices) -> None:
    row = one(prices, model="whisper-1", audio_seconds=60.0, input_tokens=300, output_tokens=50)
    assert (row["cost_usd"], row["unpriced_reason"]) == (Decimal("0.006"), None)


def test_a_call_of_which_nothing_has_a_rate_is_unpriced(prices: Prices) -> None:
    row = one(prices, input_tokens=None, output_tokens=None, images=2)
    assert (row["cost_usd"], row["cost_state"]) == (None, "unpriced")


def test_audio_at_the_price_of_text_is_flagged(prices: Prices) -> None:
    assert "part_at_parent_rate" in one(prices, input_audio_tokens=100)["flags"]


def test_an_empty_price_is_no_gift(prices: Prices) -> None:
    row = one(prices, provider="github-copilot", model="gpt-4o")
    assert (row["cost_usd"], row["cost_state"]) == (None, "unpriced")
    assert "empty_price" in row["flags"]


def test_a_name_that_says_free_is_free(prices: Prices) -> None:
    row = one(prices, provider="mistral", model="mistral-nemo:free")
    assert (row["cost_usd"], row["cost_state"]) == (Decimal(0), "free")


def test_absurd_counts_are_unpriced_and_flagged_not_overflown(prices: Prices) -> None:
    row = one(prices, input_tokens=2**62)
    assert (row["cost_usd"], row["unpriced_reason"]) == (None, "usage out of range")
    row = one(prices, model="gpt-4", input_tokens=10**12)
    assert (row["cost_usd"], row["unpriced_reason"]) == (None, "usage out of range")


def test_moments_at_the_ends_of_time_are_priced(prices: Prices) -> None:
    for year in (1970, 2262):
        assert one(prices, occurred_at=datetime(year, 1, 1, tzinfo=UTC))["cost_usd"] is not None


def test_what_openrouter_charged_is_the_truth(prices: Prices) -> None:
    row = one(prices, provider="openrouter", model="openai/gpt-4o", reported_cost_usd=Decimal("0.004"))
    assert (row["cost_usd"], row["cost_state"]) == (Decimal("0.004"), "reported")
    assert row["list_cost_usd"] == Decimal("0.0035")
    assert sum(row[f"{part}_cost_usd"] for part in PARTS) == row["cost_usd"]


def test_what_openrouter_does_not_charge_costs_nothing(prices: Prices) -> None:
    row = one(prices, provider="openrouter", model="openai/gpt-4o", reported_cost_usd=Decimal(0))
    assert (row["cost_usd"], row["cost_state"], row["list_cost_usd"]) == (Decimal(0), "reported", Decimal("0.0035"))


@pytest.mark.parametrize(("provider", "state"), [("openrouter", "priced"), ("vllm", "unpriced")])
@pytest.mark.parametrize("claim", [Decimal("5e6"), Decimal("-0.5")])
def test_no_claim_counts_that_would_be_out_of_range_if_it_were_computed(
    prices: Prices, provider: str, state: str, claim: Decimal
) -> None:
    row = one(prices, provider=provider, model="openai/gpt-4o", reported_cost_usd=claim)
    assert row["cost_state"] == state


@pytest.mark.parametrize("provider", ["vllm", "openrouter", "github-copilot"])
@pytest.mark.parametrize("scope", [{}, {"scope": "tenant:acme"}])
def test_a_default_price_is_no_evidence_and_replaces_no_claim(prices: Prices, provider: str, scope: dict[str, str]) -> None:
    default = {"layer": "default", "rates": {"input_mtok": "10", "output_mtok": "30"}}
    discount = {"multiplier": "0.5", **scope}
    rules = [rule_of(default, "default"), rule_of(discount, "discount")]
    guessing, strict = Prices(prices.layers.books, rules), Prices(prices.layers.books, rules[1:])
    call = {"provider": provider, "model": "gpt-4o" if provider == "github-copilot" else "unheard-of", "tenant": "acme"}
    money = [field.name for field in GROUPS["money"] if field.name != "price_revision"]
    told = one(guessing, reported_cost_usd=Decimal("0.5"), **call)
    assert (told["cost_usd"], told["cost_state"], "default_price" in told["flags"]) == (Decimal("0.5"), "reported", False)
    without = one(strict, reported_cost_usd=Decimal("0.5"), **call)
    assert [told[name] for name in money] == [without[name] for name in money]
    silent = one(guessing, reported_cost_usd=None, **call)
    assert (silent["cost_usd"], silent["cost_state"]) == (Decimal("0.0065"), "estimated")


def test_ones_own_price_goes_over_a_claim_and_over_a_default(prices: Prices) -> None:
    forms = [{"layer": "default", "rates": {"input_mtok": "10"}}, {"model": "house", "rates": {"input_mtok": "1"}}]
    own = Prices(prices.layers.books, [rule_of(form, f"r{number}") for number, form in enumerate(forms)])
    row = one(own, provider="vllm", model="house", output_tokens=0, reported_cost_usd=Decimal("0.5"))
    assert (row["cost_usd"], row["cost_state"]) == (Decimal("0.001"), "priced")


@pytest.mark.parametrize(("tokens", "pico"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_half_of_the_last_digit_is_rounded_to_the_even_one(prices: Prices, tokens: int, pico: int) -> None:
    half = Prices(prices.layers.books, [rule_of({"model": "house", "rates": {"input_mtok": "0.0000005"}}, "half")])
    row = one(half, provider="vllm", model="house", input_tokens=tokens, output_tokens=0)
    assert row["cost_usd"] == row["input_cost_usd"] == Decimal(pico) / 10**12


def test_what_other_senders_report_is_kept_beside(prices: Prices) -> None:
    row = one(prices, reported_cost_usd=Decimal("0.5"))
    assert (row["cost_usd"], row["cost_state"], row["reported_cost_usd"]) == (Decimal("0.0035"), "priced", Decimal("0.5"))


def test_a_reported_cost_stands_in_where_nobody_has_a_price(prices: Prices) -> None:
    row = one(prices, model="unheard-of", reported_cost_usd=Decimal("0.5"))
    assert (row["cost_usd"], row["cost_state"]) == (Decimal("0.5"), "reported")
    assert one(prices, model="unheard-of", reported_cost_usd=Decimal(0))["cost_state"] == "unpriced"
    strict = Prices(prices.layers.books, settings=Settings(reported_when_unpriced=False))
    assert one(strict, model="unheard-of", reported_cost_usd=Decimal("0.5"))["cost_usd"] is None


@pytest.mark.parametrize(
    ("precedence", "openrouter", "openai"),
    [
        ({}, "reported", "priced"),
        ({"openai": "reported"}, "reported", "reported"),
        ({"openai": "computed"}, "reported", "priced"),
        ({"openrouter": "computed"}, "priced", "priced"),
        ({"*": "reported"}, "reported", "reported"),
        ({"*": "reported", "openai": "computed"}, "reported", "priced"),
        ({"*": "computed"}, "reported", "priced"),
        ({"OpenRouter": "computed", "chatgpt": "reported"}, "priced", "reported"),
    ],
)
def test_what_is_configured_about_reported_costs_goes_over_the_default_and_does_not_replace_it(
    prices: Prices, precedence: dict[str, Precedence], openrouter: str, openai: str
) -> None:
    """As `otel-config.yaml` is read, and as a batch is priced."""
    found = Prices(prices.layers.books, settings=PricesProcessor(precedence=precedence).made())
    told = Decimal("0.7")
    rows = [one(found, provider=provider, model=model, reported_cost_usd=told)
            for provider, model in (("openrouter", "openai/gpt-4o"), ("openai", "gpt-4o"))]  # fmt: skip
    assert [row["cost_state"] for row in rows] == [openrouter, openai]
    assert [row["cost_usd"] == told for row in rows] == [openrouter == "reported", openai == "reported"]
    assert [row["reported_cost_usd"] for row in rows] == [told, told]


def test_in_development_everything_is_free_and_list_costs_stay(prices: Prices) -> None:
    dev = Prices(prices.layers.books, settings=Settings(profile="development"))
    row = one(dev)
    assert (row["cost_usd"], row["list_cost_usd"], row["cost_state"]) == (Decimal(0), Decimal("0.0035"), "free")
    assert one(dev, model="unheard-of")["cost_state"] == "free"


def test_an_entry_for_several_calls_whose_rate_hangs_on_size_is_flagged(prices: Prices) -> None:
    row = one(prices, provider="gcp.gemini", model="gemini-2.5-pro", calls=10, input_tokens=1_000_000, output_tokens=0)
    assert row["cost_usd"] == Decimal("1.25")  # ten calls of a hundred thousand, not one of a million
    assert "size_unknown" in row["flags"]


def test_flags_that_came_are_kept(prices: Prices) -> None:
    row = one(prices, flags=["semantics_assumed"], reasoning_tokens=500, output_tokens=10)
    assert row["flags"] == ["semantics_assumed", "counters_inconsistent"]


def test_other_meters_are_priced(prices: Prices) -> None:
    other = [{"key": "file_searches", "value": 2.0}, {"key": "unheard_of", "value": 9.0}]
    row = one(prices, model="gpt-4.1", input_tokens=0, output_tokens=0, searches=3, other_meters=other)
    assert row["other_cost_usd"] == Decimal("0.015")  # one web search at 10, two file searches at 2.50 a thousand


@pytest.mark.parametrize(
    ("region", "cost"), [(None, "0.0055"), ("us", "0.00605"), ("us-east-1", "0.0055")]
)  # fmt: skip
def test_inference_in_the_us_only_is_dearer_at_anthropic(prices: Prices, region: str | None, cost: str) -> None:
    row = one(prices, provider="anthropic", model="claude-opus-4-6", input_tokens=600, region=region)
    assert row["cost_usd"] == Decimal(cost)


def test_only_the_settings_that_exist_are_taken() -> None:
    with pytest.raises(ValueError, match=r"prices\.profile"):
        Settings(profile="staging")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"prices\.precedence\.openai"):
        Settings(precedence={"openai": "theirs"})  # type: ignore[dict-item]
