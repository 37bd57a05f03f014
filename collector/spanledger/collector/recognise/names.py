"""Names brought to one spelling: hosts, models, and the family a model belongs to. Providers are `ledger/providers.py`'s."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.dialects.dialect import Family
from spanledger.ledger.providers import CANONICAL

_HOSTS: tuple[tuple[str, str], ...] = (
    (r"\.openai\.azure\.com|\.cognitiveservices\.azure\.com", "azure.ai.openai"),
    (r"\.services\.ai\.azure\.com|\.inference\.ai\.azure\.com", "azure.ai.inference"),
    (r"bedrock[a-z-]*\.[a-z0-9-]+\.amazonaws\.com", "aws.bedrock"),
    (r"aiplatform\.googleapis\.com", "gcp.vertex_ai"),
    (r"generativelanguage\.googleapis\.com", "gcp.gemini"),
    (r"api\.openai\.com", "openai"),
    (r"api\.anthropic\.com", "anthropic"),
    (r"api\.mistral\.ai", "mistral_ai"),
    (r"api\.deepseek\.com", "deepseek"),
    (r"api\.groq\.com", "groq"),
    (r"api\.x\.ai", "x_ai"),
    (r"api\.perplexity\.ai", "perplexity"),
    (r"api\.moonshot\.", "moonshot_ai"),
    (r"openrouter\.ai", "openrouter"),
    (r"api\.together\.(xyz|ai)", "together"),
    (r"api\.fireworks\.ai", "fireworks"),
    (r"api\.cerebras\.ai", "cerebras"),
    (r"api\.cohere\.", "cohere"),
)

#: Those who answer in OpenAI's form, where cached input is inside the input.
_LIKE_OPENAI = frozenset((
    "openai", "azure.ai.openai", "azure.ai.inference", "mistral_ai", "deepseek", "groq", "x_ai", "perplexity",
    "moonshot_ai", "openrouter", "together", "fireworks", "cerebras",
))  # fmt: skip


#: Who answers with the models of others, whose own names have a vendor in front: Groq's is openai/gpt-oss-120b.
HOSTS_OF_OTHERS = ("openrouter", "groq", "together", "fireworks", "cerebras", "huggingface", "deepinfra", "novita")


@lru_cache(maxsize=65_536)
def provider_at(address: str) -> str | None:
    """The provider that answers at a host."""
    return next((name for pattern, name in _HOSTS if re.search(pattern, address[:512])), None)


@lru_cache(maxsize=65_536)
def region_at(address: str) -> str | None:
    """The cloud region in a host name."""
    found = re.search(r"bedrock[a-z-]*\.([a-z0-9-]+)\.amazonaws\.com|([a-z]+-[a-z]+\d)-aiplatform\.googleapis", address[:512])
    return next((group for group in found.groups() if group), None) if found else None


def region_in(model: str) -> str | None:
    """The region in the ARN of a model or an inference profile; None in what is no ARN."""
    parts = model[:256].split(":")
    return parts[3].lower() or None if parts[0].lower() == "arn" and len(parts) > 5 else None


@lru_cache(maxsize=65_536)
def unprefixed(model: str) -> str:
    """A model's name without the provider that gateways put before it: `openai/gpt-4o` is gpt-4o."""
    first, slash, rest = model.partition("/")
    return rest if slash and rest and first.lower() in CANONICAL else model


def hosted(provider: str, model: str) -> str:
    """What a host calls a model: the name as it was sent, without the host's own in front of a vendor's."""
    first, _, rest = model.partition("/")
    return rest if first.lower() == provider and "/" in rest else model


@lru_cache(maxsize=65_536)
def bare_model(model: str) -> str:
    """A model's name without vendor prefix, region, date and version, for telling whether two records mean one model."""
    plain = model.lower().rsplit("/", 1)[-1]
    plain = re.sub(r"^((us|eu|apac|jp|au|global)\.)?(anthropic|amazon|meta|cohere|mistral|ai21)\.", "", plain)
    plain = re.sub(r"(-v\d+)?(:\d+)?$", "", plain)
    plain = re.sub(r"[-@]\d{4}-?\d{2}-?\d{2}$|-latest$|-\d{3}$", "", plain)
    return plain.replace(".", "-")


#: What may follow a model's name without making it another model: a date in one of its spellings, a state.
_STILL_IT = re.compile(r"([-@:](\d{4,8}|\d{2}-\d{2}|\d{3}|latest|preview|exp|experimental|beta))*")


def may_be_one(model: str, other: str) -> bool:
    """Whether bare names can be of one model: `gpt-4` and `gpt-4-0613`, not `gpt-4o` and `gpt-4o-mini`. No name may be any."""
    short, long = sorted((model, other), key=len)
    return not short or (long.startswith(short) and _STILL_IT.fullmatch(long, len(short)) is not None)


@lru_cache(maxsize=65_536)
def family(pair: tuple[str | None, str | None]) -> Family:
    """Which of the kinds of providers that differ in what they call input a (provider, model) is."""
    paid, model = pair
    if paid == "aws.bedrock":
        return "bedrock"
    if model and "claude" in model.lower():
        return "anthropic"
    if paid == "anthropic":
        return "anthropic"
    if paid and paid.startswith("gcp."):
        return "google"
    return "openai" if paid in _LIKE_OPENAI else "other"


def mapped(column: pl.Series, meaning: Callable[[str], str | None]) -> pl.Series:
    """The column with every distinct value replaced once."""
    if column.null_count() == len(column):
        return column
    told = pc.dictionary_encode(column.to_arrow(compat_level=pl.CompatLevel.oldest()))
    meant = pa.array([meaning(value) for value in told.dictionary.to_pylist()], pa.string())
    return cast(pl.Series, pl.from_arrow(meant.take(told.indices))).alias(column.name)
