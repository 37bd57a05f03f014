"""Usage objects that emitters tuck into one attribute, as JSON or as a Python repr, read into inclusive counts.

Only the few records that carry one come here, one at a time. Nothing is ever evaluated: a repr is read as a literal,
and whatever is neither JSON nor a literal reads as nothing.
"""

import ast
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import inf, isfinite, isnan
from typing import Any, NamedTuple

import orjson

from spanledger.collector.dialects.dialect import Embedded
from spanledger.collector.recognise.fields import ABSENT, LARGEST_COUNT

#: Beyond this an attribute holds a conversation, not a usage.
LARGEST = 32_768

#: What is no count where it is an object: counts of its own stand in it.
_PARTS = ("cache_creation", "details")


class Usage(NamedTuple):
    """Inclusive counts by field, only those that are given, and whether any was negative, absurd or no number."""

    counts: Mapping[str, int]
    invalid: bool


class _Object(dict[str, Any]):
    """A usage object or a part of one; all its parts share `wrong`, the names of counts that are none."""

    __slots__ = ("wrong",)

    def __init__(self, found: Mapping[str, Any], wrong: set[str]) -> None:
        super().__init__(found)
        self.wrong = wrong


def parsed(text: str) -> Any:
    """The object in the text, or None. Never raises."""
    if not text or len(text) > LARGEST:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        # Python writes numbers into JSON that are none.
        return json.loads(text) if "NaN" in text or "Infinity" in text else ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=4096)
def usage_in(text: str, form: Embedded) -> Usage | None:
    """None if the text is malformed."""
    found = parsed(text)
    if not isinstance(found, dict):
        return None
    whole = _Object(found, set())
    counts = {field: count for field, count in _FORMS[form](whole).items() if count is not None}
    good = {field: count for field, count in counts.items() if count <= LARGEST_COUNT}
    return Usage(good, bool(whole.wrong) or len(good) < len(counts))


@lru_cache(maxsize=4096)
def cost_in(text: str) -> float | None:
    """The total of an embedded cost object, in US dollars."""
    found = parsed(text)
    if isinstance(found, dict):
        found = found.get("total", found.get("total_cost"))
    number = None if isinstance(found, str) else _number(found)
    try:
        return None if number is None or isnan(number) else float(number)
    except OverflowError:
        return inf


@lru_cache(maxsize=4096)
def model_in(text: str) -> str | None:
    """The model named by embedded invocation parameters; a plain name is itself."""
    if not text.startswith("{"):
        return text or None
    found = parsed(text)
    name = found.get("model") or found.get("model_name") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _count(found: _Object, name: str) -> int | None:
    """The count of this name, read as an attribute is: numbers as text are numbers; -1, NaN and words for nothing say nothing."""
    value = found.get(name)
    if value is None or (isinstance(value, str) and value in ABSENT) or (isinstance(value, dict) and name.endswith(_PARTS)):
        return None
    number = _number(value)
    if number is None or not (isinstance(number, int) or isfinite(number)):
        silent = number is not None and isnan(number)
    elif 0 <= number <= LARGEST_COUNT and abs(number - round(number)) < 1e-6:
        return round(number)
    else:
        silent = number == -1
    if not silent:
        found.wrong.add(name)
    return None


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        try:
            return float(value) if "_" not in value else None
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _first(found: _Object, *names: str) -> int | None:
    return next((count for count in [_count(found, name) for name in names] if count is not None), None)


def _sum(found: _Object, names: list[str]) -> int | None:
    counts = [count for count in [_count(found, name) for name in names] if count is not None]
    return sum(counts) if counts else None


def _inner(found: _Object, *names: str) -> _Object:
    return _Object(next((found[name] for name in names if isinstance(found.get(name), dict)), {}), found.wrong)


def _provider(found: _Object) -> dict[str, int | None]:
    """A provider's own object: OpenAI's and Gemini's input holds the cache, Anthropic's and Bedrock's leaves it out."""
    if "promptTokenCount" in found or "prompt_token_count" in found or "candidatesTokenCount" in found:
        return _google(found)
    counts = _inclusive(found)
    # Who answers in OpenAI's form counts cached tokens inside, also under Anthropic's names (LiteLLM, DeepSeek).
    if "prompt_tokens" in found:
        return counts
    cached = ("cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    fresh = counts.get("input")
    if fresh is not None and any(name in found for name in cached):
        counts["input"] = fresh + (counts.get("cache_read") or 0) + (counts.get("cache_write") or 0)
    return counts


def _inclusive(found: _Object) -> dict[str, int | None]:
    """An object whose input is the whole input whoever the provider is."""
    inputs = _inner(found, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    outputs = _inner(found, "completion_tokens_details", "output_tokens_details", "output_token_details")
    lifetimes = _inner(found, "cache_creation") or _inner(inputs, "cache_creation_token_details")
    return {
        "input": _first(found, "prompt_tokens", "input_tokens", "inputTokens"),
        "output": _first(found, "completion_tokens", "output_tokens", "outputTokens"),
        "cache_read": _first(inputs, "cached_tokens", "cache_read", "cache_read_tokens")
        or _first(found, "cache_read_input_tokens", "cacheReadInputTokens", "prompt_cache_hit_tokens", "cache_read"),
        "cache_write": _first(inputs, "cache_write_tokens", "cache_creation_tokens", "cache_creation", "cache_write")
        or _first(found, "cache_creation_input_tokens", "cacheWriteInputTokens", "cache_creation"),
        "cache_write_5m": _first(lifetimes, "ephemeral_5m_input_tokens"),
        "cache_write_1h": _first(lifetimes, "ephemeral_1h_input_tokens")
        or _first(found, "cache_creation_input_tokens_above_1hr"),
        "reasoning": _first(outputs, "reasoning_tokens", "thinking_tokens", "reasoning") or _first(found, "reasoning"),
        "input_audio": _first(inputs, "audio_tokens", "audio"),
        "output_audio": _first(outputs, "audio_tokens", "audio"),
        "total": _first(found, "total_tokens", "totalTokens"),
    }


def _google(found: _Object) -> dict[str, int | None]:
    """Gemini's usage metadata: candidates leave thoughts out, tool use is extra input."""
    thoughts = _first(found, "thoughtsTokenCount", "thoughts_token_count")
    candidates = _first(found, "candidatesTokenCount", "candidates_token_count")
    prompt = _first(found, "promptTokenCount", "prompt_token_count")
    tools = _first(found, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
    return {
        "input": prompt if prompt is None else prompt + (tools or 0),
        "output": candidates if candidates is None and thoughts is None else (candidates or 0) + (thoughts or 0),
        "cache_read": _first(found, "cachedContentTokenCount", "cached_content_token_count"),
        "reasoning": thoughts,
        "total": _first(found, "totalTokenCount", "total_token_count"),
    }


def _langfuse(found: _Object) -> dict[str, int | None]:
    """OpenAI's own object, or disjoint keys whose sum is the total."""
    if "prompt_tokens" in found or "input_tokens" in found:
        return _provider(found)
    names = [name for name in found if isinstance(name, str)]
    reading = _sum(found, ["cache_read_input_tokens", "input_cached_tokens", "input_cache_read"])
    writing = _sum(found, ["cache_creation_input_tokens", "input_cache_creation", "input_cache_write"])
    reasoning = _sum(found, ["output_reasoning_tokens", "output_reasoning"])
    inputs = _sum(found, [name for name in names if name.startswith(("input", "cache_"))])
    outputs = _sum(found, [name for name in names if name.startswith("output")])
    counts = {"input": inputs, "output": outputs}
    # A detail of 0 is not told apart from one that is not given.
    return {**counts, "cache_read": reading or None, "cache_write": writing or None, "reasoning": reasoning or None}


def _vercel(found: _Object) -> dict[str, int | None]:
    """`providerMetadata`: details only, the numbers beside them are right or put right by their dialect."""
    openai, anthropic, google = _inner(found, "openai", "azure"), _inner(found, "anthropic"), _inner(found, "google", "vertex")
    if anthropic:
        usage = _provider(_inner(anthropic, "usage"))
        return {
            "input": usage.get("input"),
            "cache_read": usage.get("cache_read") or _first(anthropic, "cacheReadInputTokens"),
            "cache_write": usage.get("cache_write") or _first(anthropic, "cacheCreationInputTokens"),
            "cache_write_5m": usage.get("cache_write_5m"),
            "cache_write_1h": usage.get("cache_write_1h"),
            "reasoning": usage.get("reasoning"),
        }
    if google:
        return _google(_inner(google, "usageMetadata"))
    if bedrock := _inner(found, "bedrock"):
        # Beside the input, which is that of the attributes.
        usage = _inner(bedrock, "usage")
        return {
            "cache_read": _first(usage, "cacheReadInputTokens"),
            "cache_write": _first(usage, "cacheWriteInputTokens", "cacheCreationInputTokens"),
        }
    return {
        "cache_read": _first(openai, "cachedPromptTokens"),
        "cache_write": _first(_inner(openai, "usage"), "cacheWriteTokens"),
        "reasoning": _first(openai, "reasoningTokens"),
    }


def _adk(found: _Object) -> dict[str, int | None]:
    return _google(_inner(found, "usage_metadata", "usageMetadata"))


_FORMS: Mapping[Embedded, Callable[[_Object], dict[str, int | None]]] = {
    "provider": _provider,
    "inclusive": _inclusive,
    "langfuse": _langfuse,
    "vercel": _vercel,
    "adk": _adk,
}
