"""How telemetry spells providers and models, and what the book makes of it: the traps of the research, one row each."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from spanledger.prices import Prices, keys, layers
from spanledger.prices.regions import ABROAD, GOVCLOUD, REGIONAL, place_of
from spanledger.prices.rule_form import rule_of

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices()


#: provider and model as sent → what prices it and how it was matched.
KNOWN = [
    ("openai", "gpt-4o", "openai/gpt-4o", "exact"),
    ("openai", "GPT-4o", "openai/gpt-4o", "exact"),
    ("openai", "gpt-4o ", "openai/gpt-4o", "exact"),
    ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o", "alias"),
    ("openai", "openai/gpt-4o", "openai/gpt-4o", "alias"),
    ("azure.ai.openai", "gpt-4o", "openai/gpt-4o", "fallback"),
    ("az.ai.openai", "gpt-4o", "openai/gpt-4o", "fallback"),
    ("azure_openai", "azure/gpt-4o", "openai/gpt-4o", "fallback"),
    ("azure", "azure/eu/gpt-4o", "openai/gpt-4o", "fallback"),
    ("azure.ai.inference", "gpt-4o", "openai/gpt-4o", "fallback"),
    ("anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5", "prefix"),
    ("anthropic", "anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4-5", "alias"),
    ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5", None),
    ("gcp.vertex_ai", "publishers/anthropic/models/claude-sonnet-4-5", "google/claude-sonnet-4-5", None),
    ("gcp.gemini", "gemini-2.5-flash", "google/gemini-2.5-flash", "exact"),
    ("gcp.gemini", "models/gemini-2.5-flash", "google/gemini-2.5-flash", "alias"),
    ("gcp.gen_ai", "gemini/gemini-2.5-flash", "google/gemini-2.5-flash", "alias"),
    ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-flash", "google/gemini-2.5-flash", "alias"),
    ("vertex_ai", "vertex_ai/gemini-2.5-flash", "google/gemini-2.5-flash", "alias"),
    ("gcp.vertex_ai", "projects/p1/locations/us-central1/publishers/google/models/gemini-2.5-flash",
     "google/gemini-2.5-flash", "alias"),
    ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
     "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0", None),
    ("aws.bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
     "aws/global.anthropic.claude-sonnet-4-5-20250929-v1:0", None),
    ("aws.bedrock", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
     "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0", None),
    ("bedrock_converse", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "aws/amazon.nova-lite-v1:0", None),
    ("x_ai", "xai/grok-4", "x-ai/grok-4-0709", None),
    ("xai", "grok-4", "x-ai/grok-4-0709", None),
    ("xai", "grok-4.20-beta-0309-reasoning", "x-ai/grok-4.20", "alias"),
    ("xai", "xai/grok-4.20-non-reasoning", "x-ai/grok-4.20", "alias"),
    ("xai", "grok-4.3-beta", "x-ai/grok-4.3", "alias"),
    ("xai", "grok-4-fast-non-reasoning", "x-ai/grok-4-fast-non-reasoning", "exact"),
    ("fireworks_ai", "accounts/fireworks/models/deepseek-v3p2", "fireworks/deepseek-v3p2", None),
    ("togetherai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "together/meta-llama/Llama-3.3-70B-Instruct-Turbo", None),
    ("openrouter", "openai/gpt-4o", "openrouter/openai/gpt-4o", "exact"),
    ("openrouter", "openai/gpt-4o:online", "openrouter/openai/gpt-4o", "alias"),
    ("openrouter", "openai/gpt-4o:nitro", "openrouter/openai/gpt-4o", "alias"),
    ("mistral_ai", "mistral/mistral-large-latest", "mistral/mistral-large", None),
    ("groq", "llama-3.1-8b-instant", "groq/llama-3.1-8b-instant", None),
    ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", "openai/ft:gpt-4o-mini", "prefix"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "priced_as", "match"), KNOWN)
def test_a_name_finds_its_model(prices: Prices, provider: str, model: str, priced_as: str, match: str | None) -> None:
    quote = prices.cost_of(provider, model, AT, 1000, 100)
    assert quote.priced_as == priced_as
    assert quote.cost_usd is not None
    if match:
        assert quote.price_match == match


#: What must stay unpriced, never priced as something else.
UNKNOWN = [
    ("openai", "ft:gpt-4.1-2025-04-14:acme::abc"),  # never the base model's price
    ("azure.ai.openai", "my-deployment"),
    ("aws.bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"),
    ("aws.bedrock", "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123"),
    ("openrouter", "openrouter/auto"),
    ("nobody", "gpt-4o"),
    ("ollama", "llama3"),
    ("openai", "my-gpt-4o"),
    ("openai", "gpt"),
    ("", "gpt-4o"),
    ("openai", ""),
    ("openai", "gpt-4o'; drop table calls; --"),
]


@pytest.mark.parametrize(("provider", "model"), UNKNOWN)
def test_what_no_book_knows_is_unpriced_and_says_why(prices: Prices, provider: str, model: str) -> None:
    quote = prices.cost_of(provider, model, AT, 1000, 100)
    assert quote.cost_usd is None
    assert quote.cost_state == "unpriced"
    assert quote.unpriced_reason


def test_a_name_that_begins_like_another_is_that_other(prices: Prices) -> None:
    old, new = (prices.cost_of("openai", model, AT, 1_000_000, 0) for model in ("gpt-4", "gpt-4.1"))
    assert (old.priced_as, old.cost_usd) == ("openai/gpt-4", Decimal(30))
    assert (new.priced_as, new.cost_usd) == ("openai/gpt-4.1", Decimal(2))


def test_a_dearer_sibling_that_a_prefix_swallows_is_an_estimate(prices: Prices) -> None:
    quote = prices.cost_of("gcp.gemini", "gemini-3.8-flash-cyber", AT, 1000, 100)
    assert quote.price_match == "prefix"
    assert quote.cost_state == "estimated"
    assert "prefix_match" in quote.flags


def test_an_alias_that_moves_is_flagged(prices: Prices) -> None:
    quote = prices.cost_of("gcp.gemini", "gemini-flash-latest", datetime(2025, 6, 1, tzinfo=UTC), 1000, 100)
    assert "alias_drift" in quote.flags


def test_a_price_of_another_provider_stands_in_and_says_so(prices: Prices) -> None:
    assert "fallback_provider" in prices.cost_of("azure", "gpt-4o", AT, 1000, 100).flags


def test_strange_names_do_not_grow_memory_without_end(prices: Prices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MOST_NAMES", 1_000)
    monkeypatch.setattr(layers, "MOST_LISTED", 1_000)
    fresh = Prices(prices.layers.books)
    for start in range(5):
        strange = pl.DataFrame(
            {
                "provider": ["openai"] * 1_000,
                "model": [f"strange-{start}-{n}" for n in range(1_000)],
                "occurred_at": [AT] * 1_000,
                "input_tokens": [1] * 1_000,
            }
        )
        assert fresh.price(strange)["cost_state"].unique().to_list() == ["unpriced"]
    met = fresh._state.keys.met()
    assert met is not None
    assert met.height <= 2_000
    assert len(fresh.layers._listed) <= 1_000
    assert len(fresh._state.keys._keys) < 10  # one for each reason


def test_the_model_that_answered_decides_and_the_requested_one_stands_in(prices: Prices) -> None:
    entries = pl.DataFrame(
        {
            "provider": ["openai"] * 2, "model": ["gpt-4o-mini-2024-07-18", None], "requested_model": ["gpt-4o", "gpt-4o"],
            "occurred_at": [AT] * 2, "input_tokens": [1_000_000] * 2,
        }
    )  # fmt: skip
    assert prices.price(entries)["priced_as"].to_list() == ["openai/gpt-4o-mini", "openai/gpt-4o"]


@pytest.mark.parametrize(
    ("region", "place"),
    [
        ("us-east-1", None), ("us-east-2", None), ("us-west-2", None), ("us-east-1a", None), ("us-west-1", ABROAD),
        ("eu-west-1", ABROAD), ("ap-southeast-7b", ABROAD), ("xx-outwest-12", ABROAD), ("us-isob-east-1", ABROAD),
        ("cn-north-1", ABROAD), ("US-GOV-WEST-1", GOVCLOUD), ("us-gov-east-1", GOVCLOUD), ("us-gov-north-3", GOVCLOUD),
        ("us-central1", REGIONAL), ("europe-west12", REGIONAL), ("eastus", None), ("global", None), ("eu", None), ("us", None),
            ("", None),
        (None, None), ("-1", None), ("us--1", None), ("us-east-123", None), ("eu-west-1; drop", None),
    ],
)  # fmt: skip
def test_a_region_is_told_by_its_form_also_one_that_is_built_next_year(region: str | None, place: str | None) -> None:
    assert place_of(region) == place
    assert place is None or place_of(place) == place


def test_a_region_in_a_batch_is_what_it_is_in_a_quote(prices: Prices) -> None:
    regions = ["eu-west-1", "ap-newplace-9", "us-east-1", None, "us-gov-west-1", "us-central1"]
    rows = {"provider": "aws.bedrock", "model": "amazon.nova-pro-v1:0", "region": regions, "occurred_at": AT, "input_tokens": 10}
    priced = prices.price(pl.DataFrame(rows))
    quotes = [prices.cost_of("aws.bedrock", "amazon.nova-pro-v1:0", AT, 10, 0, region=region) for region in regions]
    assert priced["cost_usd"].to_list() == [quote.cost_usd for quote in quotes]
    assert priced["cost_state"].to_list() == ["estimated", "estimated", "priced", "priced", "priced", "priced"]
    own = rule_of({"provider": "aws", "region": "eu-west-1", "rates": {"input_mtok": "1", "output_mtok": "1"}}, "r")
    assert Prices(prices.layers.books, [own]).price(pl.DataFrame(rows))["cost_usd"].to_list()[:2] == [
        Decimal("0.00001"), quotes[1].cost_usd
    ]  # fmt: skip
