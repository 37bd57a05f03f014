"""What the bundled book leaves out and providers' price lists say: corrections that ship with Spanledger.

Each has its source. They are of the layer `site`: a rule of yours in that layer with a higher priority, or a contract,
goes over them.
"""

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from spanledger.prices.cell import BEGINNING, FOREVER, Box, microseconds
from spanledger.prices.meters import MILLION
from spanledger.prices.regions import REGIONAL
from spanledger.prices.rule import ANY, Rule

#: https://platform.claude.com/docs/en/about-claude/pricing: 1.1 × all token rates for inference in the US only,
#: from Claude Opus 4.6 on.
_ANTHROPIC_IN_THE_US = (
    "claude-opus-4-6*", "claude-opus-4-7*", "claude-opus-4-8*", "claude-sonnet-4-6*", "claude-opus-5*", "claude-sonnet-5*",
    "claude-haiku-5*", "claude-fable-5*", "claude-mythos*",
)  # fmt: skip

#: https://developers.openai.com/api/docs/pricing: 1.1 × for regional processing, from GPT-5.4 on.
_OPENAI_REGIONAL = ("gpt-5.4*", "gpt-5.5*", "gpt-5.6*", "gpt-6*", "gpt-realtime-2.1*")

#: https://cloud.google.com/gemini-enterprise-agent-platform/generative-ai/pricing, by LiteLLM's map of November 2026, which cites
#: it for 38 names: 1.1 × where an address in a region answers.
_VERTEX_REGIONAL = (
    "claude-fable-5*", "claude-haiku-4-5*", "claude-haiku-5-5*", "claude-opus-4-5*", "claude-opus-4-6*", "claude-opus-4-7*",
    "claude-opus-4-8*", "claude-opus-5*", "claude-sonnet-4-5*", "claude-sonnet-4-6*", "claude-sonnet-5*",
    "gemini-3.1-flash-image*", "gemini-3.1-flash-lite*", "gemini-3.5-flash*", "gemini-3.6-flash*", "gemini-3.7-flash*",
    "gemini-3.8-flash*", "gemini-4-argon*",
)  # fmt: skip

#: https://api-docs.deepseek.com/quick_start/pricing: no peak hours at weekends. The book cannot say a weekday, and
#: cannot say since when there are peak hours: it gives them to all time.
_OFF_PEAK = (
    ("deepseek-v4-flash", "2026-08-17", "2026-09-10", ("0.22", "0.007", "0.66")),
    ("deepseek-v4-flash", "2026-09-10", None, ("0.15", "0.003", "0.6")),
    ("deepseek-flash", "2026-09-10", None, ("0.15", "0.003", "0.6")),
    ("deepseek-v4-pro", "2026-08-17", None, ("0.66", "0.022", "1.98")),
)
_BEFORE_PEAKS = (
    ("deepseek-v4-flash", "2026-08-17", ("0.14", "0.0028", "0.28")),
    ("deepseek-v4-pro", "2026-08-17", ("0.435", "0.003625", "0.87")),
)
_WEEKEND = 0b1100000

#: https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonBedrockFoundationModels/current/us-gov-west-1/index.json:
#: 1.2 × the commercial regions' rates. The book has 1.1 × for Claude, as in any region, and 1 × for the others.
_GOVCLOUD = (
    ("us-gov.anthropic.*", Fraction(12, 11)),
    *((f"us-gov.{of}.*", Fraction(6, 5)) for of in ("amazon", "nvidia", "openai")),
)

#: https://azure.microsoft.com/en-us/pricing/details/azure-openai/, by LiteLLM's map of November 2026, which cites it: 121 of 137
#: deployments in a data zone at 1.1 × the global rate, GPT-6 in the EU at 1.2 ×. The others are why it is an estimate.
_DATA_ZONES = (
    *((f"{prefix}{zone}/*", Fraction(11, 10)) for prefix in ("", "azure/") for zone in ("eu", "us")),
    *((f"{prefix}eu/gpt-6*", Fraction(12, 11)) for prefix in ("", "azure/")),
)


def site_rules() -> list[Rule]:
    """The corrections that ship with Spanledger."""
    rules = [_uplift("anthropic", model, "us") for model in _ANTHROPIC_IN_THE_US]
    rules += [_uplift("openai", model, region) for model in _OPENAI_REGIONAL for region in ("eu", "us")]
    rules += [_uplift("google", model, REGIONAL) for model in _VERTEX_REGIONAL]
    rules += [_uplift("aws", model, ANY, by) for model, by in _GOVCLOUD]
    rules += [replace(_uplift("azure", model, ANY, by), estimated=True) for model, by in _DATA_ZONES]
    for model, since, until, rates in _OFF_PEAK:
        box = Box(starts=_day(since), ends=_day(until) if until else FOREVER, weekdays=_WEEKEND)
        rules.append(_deepseek(f"site:{model}:weekend:{since}", model, box, rates))
    for model, until, rates in _BEFORE_PEAKS:
        box = Box(starts=BEGINNING, ends=_day(until))
        rules.append(_deepseek(f"site:{model}:before-peak-hours", model, box, rates))
    return rules


def _uplift(provider: str, model: str, region: str, by: Fraction = Fraction(11, 10)) -> Rule:
    return Rule(
        rule_id=f"site:{provider}:{region}:{model}", layer="site", provider=provider, model=model, region=region,
        multiplier=by, flags=("regional_uplift",), priority=-1,
    )  # fmt: skip


def _deepseek(rule_id: str, model: str, box: Box, rates: tuple[str, str, str]) -> Rule:
    counters = ("input_tokens", "cache_read_tokens", "output_tokens")
    return Rule(
        rule_id=rule_id, layer="site", provider="deepseek", model=model, box=box, priority=-1,
        rates={counter: Fraction(rate) / MILLION for counter, rate in zip(counters, rates, strict=True)},
    )  # fmt: skip


def _day(text: str) -> int:
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))
