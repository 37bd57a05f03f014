"""The traps that price libraries and telemetry set, one row each: what is asked, what it costs, and what is said about it.

Further ones have their tests where their subject is: spellings in `test_names.py`, snapshots and versions in `test_likeness.py`,
counters, tiers and reported costs in `test_states.py`, files of prices in `test_books.py` and `test_book_faults.py`, what is made
by size in `test_images.py`, long contexts, seconds, pages and batches in `golden.jsonl`, and all models, dates, hours and sizes
against genai-prices itself in `test_agreement.py`.
"""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.prices import Call, Prices
from spanledger.prices.books import at_azure
from spanledger.prices.books.file import book_of
from spanledger.prices.books.snapshot import installed
from spanledger.prices.rule_form import rule_of

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday
LITELLM = (Path(__file__).parent / "books" / "litellm.json").read_bytes()


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices()


def friday(hour: int, **offset: int) -> datetime:
    return datetime(2026, 11, 20, hour, tzinfo=timezone(timedelta(**offset)))


#: trap, provider, model, what else is asked → cost of a million input tokens, or why there is none, and a flag
TRAPS: list[tuple[str, str, str, dict[str, Any], str, str | None]] = [
    ("a fallback has no tiers of its own", "azure", "gpt-4o", {"service_tier": "flex"}, "no rate for tier flex",
     "context_unmatched"),
    ("Bedrock has no tiers", "aws.bedrock", "amazon.nova-lite-v1:0", {"service_tier": "priority"}, "no rate for tier priority",
     None),
    ("a tier in capitals is that tier", "openai", "gpt-5.1", {"service_tier": "Flex"}, "0.625", None),
    ("a tier before the book has it is not the standard one", "openai", "gpt-5.1",
     {"service_tier": "flex", "at": datetime(2026, 9, 1, tzinfo=UTC)}, "no rate for tier flex", "context_unmatched"),
    ("no start floor: what is asked before a model's first price has its first price", "openai", "gpt-6-sol",
     {"at": datetime(2025, 1, 1, tzinfo=UTC)}, "4", None),
    ("peak hours are not given to the time before them", "deepseek", "deepseek-v4-flash",
     {"at": datetime(2026, 7, 15, 2, tzinfo=UTC)}, "0.14", None),
    ("a peak hour on a working day", "deepseek", "deepseek-v4-flash", {"at": friday(2)}, "0.3", None),
    ("the same hour at a weekend", "deepseek", "deepseek-v4-flash", {"at": friday(2) + timedelta(days=1)}, "0.15", None),
    ("an hour is UTC's, whatever its zone", "deepseek", "deepseek-v4-flash", {"at": friday(9, hours=8)}, "0.3", None),
    ("a price changes at midnight UTC", "deepseek", "deepseek-v4-flash",
     {"at": datetime(2026, 8, 17, 1, tzinfo=timezone(timedelta(hours=8)))}, "0.14", None),
    ("GovCloud is 20 % dearer, not 10 %", "aws.bedrock", "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3.6",
     "regional_uplift"),
    ("GovCloud of others than Anthropic", "aws.bedrock", "us-gov.amazon.nova-lite-v1:0", {}, "0.072", "regional_uplift"),
    ("a region's profile of a model with one price in the book", "aws.bedrock", "eu.amazon.nova-lite-v1:0", {}, "0.06",
     "prefix_match"),
    ("a bare Claude id on Bedrock is a region's", "aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3.3", None),
    ("GovCloud, of a foundation model's ARN", "aws.bedrock",
     "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3.6",
     "regional_uplift"),
    ("GovCloud, of an inference profile's ARN", "aws.bedrock",
     "arn:aws-us-gov:bedrock:us-gov-west-1:1:inference-profile/us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3.6",
     "regional_uplift"),
    ("GovCloud, of an ARN of others than Anthropic", "aws.bedrock",
     "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.nova-pro-v1:0", {}, "0.96", "regional_uplift"),
    ("GovCloud in an attribute", "aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", {"region": "us-gov-west-1"}, "3.6",
     "regional_uplift"),
    ("GovCloud in the name and in an attribute is dearer once", "aws.bedrock", "us-gov.amazon.nova-pro-v1:0",
     {"region": "us-gov-east-1"}, "0.96", "regional_uplift"),
    ("GovCloud in an attribute, and the provider in the name", "bedrock", "bedrock/amazon.nova-pro-v1:0",
     {"region": "us-gov-east-1"}, "0.96", "regional_uplift"),
    ("GovCloud in an attribute, and Anthropic's own name", "aws.bedrock", "claude-sonnet-4-5-20250929",
     {"region": "us-gov-west-1"}, "3.6", "regional_uplift"),
    ("Claude on Bedrock costs the same in every other region", "aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0",
     {"region": "eu-west-1"}, "3.3", None),
    ("an address in a region is dearer at Vertex", "gcp.vertex_ai", "gemini-3.8-flash", {"region": "europe-west4"}, "0.825",
     "regional_uplift"),
    ("of Claude too, by its dated name", "vertex_ai", "claude-sonnet-4-5@20250929",
     {"region": "us-central1", "input_tokens": 100_000}, "0.33", "regional_uplift"),
    ("of older models not", "gcp.vertex_ai", "gemini-2.5-flash", {"region": "europe-west4"}, "0.3", None),
    ("all the world is no region", "gcp.vertex_ai", "gemini-3.8-flash", {"region": "global"}, "0.75", None),
    ("Gemini's own API has no regions", "gcp.gemini", "gemini-3.8-flash", {"region": "europe-west4"}, "0.75", None),
    ("up to an exclusive threshold", "anthropic", "claude-sonnet-4-5", {"input_tokens": 200_000}, "0.6", None),
    ("over it the whole prompt is dearer", "anthropic", "claude-sonnet-4-5", {"input_tokens": 200_001}, "1.200006", None),
    ("below an inclusive threshold", "xai", "grok-4.3", {"input_tokens": 199_999}, "0.24999875", None),
    ("at an inclusive threshold", "xai", "grok-4.3", {"input_tokens": 200_000}, "0.5", None),
    ("cached tokens count towards a threshold", "gcp.gemini", "gemini-2.5-pro",
     {"input_tokens": 200_001, "cache_read_tokens": 200_000}, "0.0500025", None),
    ("Perplexity charges the request too", "perplexity", "sonar", {"input_tokens": 1_000}, "0.013", None),
    ("ten seconds at least", "groq", "whisper-large-v3", {"input_tokens": 0, "audio_seconds": 3}, "0.000308333333", None),
    ("a compact date", "openai", "gpt-5.2-20251211", {}, "1.75", None),
    ("an alias whose target moved", "mistral", "mistral-large-latest", {}, "2", "alias_drift"),
    ("a provider that no book has", "ibm.watsonx.ai", "granite-3-8b", {}, "unknown model", None),
    ("a provider that hosts others", "huggingface", "meta-llama/Llama-3", {}, "unknown model", None),
    ("a data zone at Azure is dearer", "azure.ai.openai", "azure/eu/gpt-4o", {}, "2.75", "regional_uplift"),
    ("and says so without the provider in front too", "azure", "us/gpt-4o", {}, "2.75", "regional_uplift"),
    ("GPT-6 is dearer still in the EU", "azure", "azure/eu/gpt-6-sol", {}, "4.8", "regional_uplift"),
    ("a tier that no book has is not the standard one", "openai", "gpt-4o", {"service_tier": "scale"}, "no rate for tier scale",
     "context_unmatched"),
    ("a batch before the book has batches", "openai", "gpt-4o",
     {"service_tier": "batch", "at": datetime(2026, 9, 1, tzinfo=UTC)}, "1.25", "batch_half_assumed"),
    ("audio at the price of text says so", "openai", "gpt-4o-audio-preview", {"input_audio_tokens": 1_000_000}, "2.5",
     "part_at_parent_rate"),
    ("a model without a price is no gift", "github-copilot", "gpt-4o", {}, "the book lists this model without a price",
     "empty_price"),
    ("nor is one whose name only contains the book's", "openai", "omni-moderation-latest", {},
     "the book lists this model without a price", "empty_price"),
    ("another version is another model", "anthropic", "claude-sonnet-4-55", {}, "unknown model", None),
    ("a sibling that a beginning swallows is an estimate", "gcp.gemini", "gemini-3.8-flash-cyber", {}, "0.75", "prefix_match"),
    ("a fine-tuned model is never its base", "openai", "ft:gpt-4.1-2025-04-14:acme::x", {}, "unknown model", None),
    ("today's target of an alias for yesterday's call", "gcp.gemini", "gemini-flash-latest",
     {"at": datetime(2025, 6, 1, tzinfo=UTC)}, "0.75", "alias_drift"),
    ("a router's choice is no model", "openrouter", "openrouter/auto", {}, "unknown model", None),
    ("a deployment's name is no model", "azure", "prod-chat", {}, "unknown model", None),
    ("an input that leaves the cache out", "anthropic", "claude-sonnet-4-5",
     {"input_tokens": 1_000, "cache_read_tokens": 100_000}, "0.033", "counters_inconsistent"),
    ("reasoning beyond the output", "openai", "gpt-5.1",
     {"input_tokens": 0, "output_tokens": 10, "reasoning_tokens": 1_000}, "0.01", "counters_inconsistent"),
    ("Japan's profile is a region's", "aws.bedrock", "jp.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3.3", None),
    ("Australia's too", "aws.bedrock", "au.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3.3", None),
    ("Asia's too", "aws.bedrock", "apac.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3.3", None),
    ("the whole world's profile is none", "aws.bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "3", None),
    ("Nova elsewhere is dearer by nobody knows what", "aws.bedrock", "jp.amazon.nova-pro-v1:0", {}, "0.8", "prefix_match"),
    ("an imported model is no known one", "aws.bedrock", "arn:aws:bedrock:us-east-1:1:imported-model/abc", {}, "unknown model",
     None),
    ("o4-mini in a data zone, of which the book has Azure's own price", "azure", "azure/eu/o4-mini", {}, "1.21",
     "regional_uplift"),
    ("DeepSeek at Azure has DeepSeek's price for want of Azure's", "azure_ai", "deepseek-r1", {}, "0.55", "fallback_provider"),
    ("a model of open weights is no gift", "gcp.gemini", "gemma-4-31b-it", {}, "the book lists this model without a price",
     "empty_price"),
    ("a tier of few", "openai", "gpt-5.1", {"service_tier": "ultrafast"}, "no rate for tier ultrafast", "context_unmatched"),
    ("fast is a tier of some", "anthropic", "claude-sonnet-4-5", {"service_tier": "fast"}, "no rate for tier fast",
     "context_unmatched"),
    ("what was asked for is no tier", "openai", "gpt-5.1", {"service_tier": "auto"}, "1.25", None),
    ("the cliff of long contexts counts the whole prompt", "openai", "gpt-6-sol", {"input_tokens": 272_001}, "1.088004", None),
    ("a search of posts has no price in any book", "xai", "grok-4.3", {"social_searches": 3}, "2.5", "part_unpriced"),
    ("an unknown meter leaves the rest", "openai", "gpt-4o", {"text_messages": 3}, "2.5", "part_unpriced"),
    ("citations are part of the output, at their own rate", "perplexity", "sonar-deep-research",
     {"input_tokens": 0, "output_tokens": 2_000, "citation_tokens": 1_000}, "0.01", None),
    ("images that are paid as tokens cost no more", "openai", "gpt-4o", {"images": 3}, "2.5", None),
    ("an image without a price by the image", "openai", "dall-e-3", {"input_tokens": 0, "images": 1}, "unknown model", None),
    ("a free route", "openrouter", "deepseek/deepseek-chat:free", {}, "0", None),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "asked", "says", "flag"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS])
def test_a_trap_is_stepped_around(
    prices: Prices, provider: str, model: str, asked: dict[str, Any], says: str, flag: str | None
) -> None:
    told: dict[str, Any] = {"at": AT, "service_tier": None, "region": None}
    counters = {"input_tokens": 1_000_000, **{name: number for name, number in asked.items() if name not in told}}
    told |= {name: value for name, value in asked.items() if name in told}
    call = Call(at=told["at"], counters=counters, service_tier=told["service_tier"], region=told["region"])
    quote = prices.quote(provider, model, call)
    if says[0].isdigit():
        assert quote.cost_usd == Decimal(says)
    else:
        assert (quote.cost_usd, quote.unpriced_reason) == (None, says)
    assert flag is None or flag in quote.flags


#: provider, model, region, flag: what it costs is known of another provider, or of another region.
GUESSES = [
    ("azure_ai", "gpt-oss-120b", None, "fallback_provider"),  # 0.039 at another host, 0.15 at Azure
    ("azure", "gpt-4-turbo", None, "fallback_provider"),  # 10 at OpenAI, 11 at Azure
    ("azure", "gpt-audio", None, "fallback_provider"),  # text costs the same; of audio nobody knows
    ("gcp.vertex_ai", "claude-sonnet-5", None, "fallback_provider"),
    ("aws.bedrock", "amazon.nova-pro-v1:0", "eu-west-1", "region_assumed"),
    ("aws.bedrock", "us-gov.meta.llama3-1-70b-instruct-v1:0", None, "region_assumed"),
    ("aws.bedrock", "meta.llama3-1-70b-instruct-v1:0", "us-gov-west-1", "region_assumed"),
]


@pytest.mark.parametrize(("provider", "model", "region", "flag"), GUESSES)
def test_a_price_of_another_provider_or_region_is_an_estimate(
    prices: Prices, provider: str, model: str, region: str | None, flag: str
) -> None:
    quote = prices.quote(provider, model, Call(at=AT, counters={"input_tokens": 1_000_000}, region=region))
    assert (quote.cost_state, quote.flags) == ("estimated", (flag,))


#: model at Azure, input tokens, cost: what OpenAI and Anthropic charge is known to be what Azure does.
SAME_AT_AZURE = [
    ("gpt-4o", 1_000_000, "2.5"),
    ("gpt-4o-2024-11-20", 1_000_000, "2.5"),
    ("gpt-4o-2024-05-13", 1_000_000, "5"),
    ("azure/global/gpt-5.5", 200_000, "1"),
    ("gpt-5.5", 300_000, "3"),
    ("gpt-6-sol", 1_000, "0.002"),
    ("azure_ai/claude-sonnet-4-5", 1_000_000, "6"),
]


@pytest.mark.parametrize(("model", "tokens", "cost"), SAME_AT_AZURE)
def test_what_is_known_to_cost_the_same_at_azure_is_a_price(prices: Prices, model: str, tokens: int, cost: str) -> None:
    quote = prices.cost_of("azure.ai.openai", model, AT, tokens, 0)
    assert (quote.cost_usd, quote.cost_state, quote.flags) == (Decimal(cost), "priced", ("fallback_provider",))
    assert quote.price_match == "fallback"


def test_a_search_at_azure_is_not_charged_at_openais_price(prices: Prices) -> None:
    quote = prices.cost_of("azure", "gpt-4o", AT, 1_000_000, 0, searches=3)
    assert (quote.cost_usd, quote.unpriced_reason) == (Decimal("2.5"), "no rate for searches")
    assert "part_unpriced" in quote.flags


def test_a_price_that_moves_at_openai_alone_is_an_estimate_at_azure() -> None:
    book = b"""[{"id": "azure", "name": "Azure", "api_pattern": "a", "fallback_model_providers": ["openai"], "models": []},
               {"id": "openai", "name": "OpenAI", "api_pattern": "o", "models": [{"id": "gpt-4o", "match": {"equals": "gpt-4o"},
                "prices": [{"prices": {"input_mtok": "2.5", "cache_read_mtok": "1.25", "output_mtok": "10"}},
                {"constraint": {"start_date": "2026-12-01"}, "prices": {"input_mtok": "2", "output_mtok": "10"}}]}]}]"""
    found = Prices([book_of(book)])
    states = [found.cost_of("azure", "gpt-4o", AT + timedelta(days=days), 1_000_000, 0).cost_state for days in (0, 30)]
    assert states == ["priced", "estimated"]


def test_every_price_that_is_known_of_azure_is_that_of_the_installed_book(prices: Prices) -> None:
    for name, sizes in at_azure._charges().items():
        provider, _, model = name.partition("/")
        own = [
            {c: r for c, r in cell.own_rates().items() if c.endswith("_tokens")} for cell in prices.cells(provider, model).cells
        ]
        assert all(rates in own for rates in sizes), name


def test_what_the_provider_itself_charges_goes_over_what_another_does() -> None:
    theirs = b"""{"azure_ai/gpt-oss-120b": {"litellm_provider": "azure_ai", "mode": "chat", "input_cost_per_token": 1.5e-07,
                  "output_cost_per_token": 6e-07}}"""
    found = Prices([installed(), book_of(theirs)]).cost_of("azure_ai", "gpt-oss-120b", AT, 1_000_000, 0)
    assert (found.cost_usd, found.cost_state, found.flags) == (Decimal("0.15"), "priced", ())


def test_ones_own_rates_for_a_guess_are_no_guess(prices: Prices) -> None:
    form = {"provider": "azure", "model": "gpt-oss-120b", "rates": {"input_mtok": "0.15", "output_mtok": "0.6"}}
    half = {"provider": "azure", "model": "gpt-oss-120b", "rates": {"input_mtok": "0.15"}}
    for given, state in ((form, "priced"), (half, "estimated")):
        found = Prices(prices.layers.books, [rule_of(given, "own")]).cost_of("azure", "gpt-oss-120b", AT, 1_000_000, 0)
        assert (found.cost_usd, found.cost_state) == (Decimal("0.15"), state)


def test_what_openrouter_charges_for_a_search_that_nobody_counts_is_not_nothing(prices: Prices) -> None:
    online = "openai/gpt-4o:online"
    straight = prices.cost_of("openrouter", "openai/gpt-4o", AT, 1_000_000, 0)
    quote = prices.cost_of("openrouter", online, AT, 1_000_000, 0)
    assert (quote.cost_usd, quote.cost_state, quote.unpriced_reason) == (straight.cost_usd, "priced", "no rate for searches")
    assert quote.flags == ("online_search", "part_unpriced")
    assert (straight.unpriced_reason, straight.flags) == (None, ())
    models, claims = ["openai/gpt-4o", "openrouter/openai/gpt-4o", online] * 2, [None] * 3 + [Decimal("0.02")] * 3
    both = {"provider": "openrouter", "model": models, "occurred_at": AT, "input_tokens": 5, "reported_cost_usd": claims}
    priced = prices.price(pl.DataFrame(both))
    assert [flags.to_list() for flags in priced["flags"]] == [[], [], list(quote.flags), [], [], ["online_search"]]
    assert priced["cost_state"].to_list() == ["priced"] * 3 + ["reported"] * 3


@pytest.mark.parametrize(
    ("rates", "searches", "cost", "why"),
    [
        ({"input_mtok": "1"}, 0, "1", "no rate for searches"),
        ({"web_searches_kcount": "20"}, 0, "2.5", None),
        ({"web_searches_kcount": "20"}, 5, "2.6", None),
        ({"requests_kcount": "20"}, 0, "2.52", None),
    ],
)
def test_who_gives_a_rate_for_openrouters_searches_has_a_price(
    prices: Prices, rates: dict[str, str], searches: int, cost: str, why: str | None
) -> None:
    rule = rule_of({"provider": "openrouter", "model": "openai/gpt-4o:online", "rates": rates}, "own")
    quote = Prices(prices.layers.books, [rule]).cost_of("openrouter", "openai/gpt-4o:online", AT, 1_000_000, 0, searches=searches)
    assert (quote.cost_usd, quote.unpriced_reason) == (Decimal(cost), why)


def test_a_search_is_not_free_where_the_model_is(prices: Prices) -> None:
    free = prices.cost_of("openrouter", "deepseek/deepseek-chat:free", AT, 1_000, 0)
    online = prices.cost_of("openrouter", "deepseek/deepseek-chat:free:online", AT, 1_000, 0)
    assert (free.cost_state, online.cost_state, online.unpriced_reason) == ("free", "priced", "no rate for searches")


def test_a_host_that_is_chosen_by_speed_is_an_estimate(prices: Prices) -> None:
    quote = prices.cost_of("openrouter", "openai/gpt-4o:nitro", AT, 1_000_000, 0)
    assert (quote.cost_usd, quote.cost_state, quote.flags) == (Decimal("2.5"), "estimated", ("route_assumed",))


def test_the_hours_of_litellms_file_go_by_the_call_and_not_by_the_clock_on_the_wall() -> None:
    found = Prices([book_of(LITELLM)], site=False)
    costs = {found.cost_of("deepseek", "deepseek-v4-flash", AT.replace(hour=hour, day=day), 1_000_000, 0).cost_usd
             for hour, day in ((2, 20), (2, 21))}  # fmt: skip
    assert costs == {Decimal("0.3"), Decimal("0.15")}


OFFLINE = """
import socket, sys, threading
def refuse(*_, **__): raise SystemExit("something went to the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from datetime import UTC, datetime
from spanledger.prices import Call, Prices
from spanledger.prices.books import at_azure
assert Prices().cost_of("openai", "gpt-4o", datetime(2026, 11, 20, tzinfo=UTC), 1000, 0).cost_usd
assert threading.active_count() == 1, threading.enumerate()
print(*sorted({"litellm", "httpx2", "genai_prices.update_prices"} & set(sys.modules)))
"""


def test_importing_and_pricing_fetch_nothing_and_start_no_updater() -> None:
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=True, timeout=250)
    assert "litellm" not in done.stdout
