"""Amazon Bedrock: Converse, and InvokeModel, whose meters stand outside of what the model says."""

from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, count, field


def _total(fresh: int | None, read: int | None, write: int | None) -> int | None:
    # What is read from the cache or written to it is counted beside the input.
    return None if fresh is None else fresh + (read or 0) + (write or 0)


def converse_usage(usage: dict[str, Any]) -> Usage:
    read, write = count(usage, "cacheReadInputTokens"), count(usage, "cacheWriteInputTokens")
    kept = {str(detail.get("ttl")): count(detail, "inputTokens") for detail in usage.get("cacheDetails") or ()}
    return Usage(
        input=_total(count(usage, "inputTokens"), read, write),
        output=count(usage, "outputTokens"),
        cache_read=read,
        cache_write=write,
        cache_write_5m=kept.get("5m"),
        cache_write_1h=kept.get("1h"),
    )


def read_converse(answered: dict[str, Any], answer: Answer) -> None:
    _metadata(answered, answer)
    if answer.heard is not None:
        for part in ((answered.get("output") or {}).get("message") or {}).get("content") or ():
            if text := part.get("text"):
                answer.hear(text)
    reason = answered.get("stopReason")
    if reason:
        answer.finish(reason)
    answer.finished = True


def read_converse_event(event: dict[str, Any], answer: Answer) -> None:
    """The usage comes last, after the stop."""
    if "messageStop" in event:
        answer.finish(event["messageStop"].get("stopReason"))
    elif "metadata" in event:
        _metadata(event["metadata"], answer)
        answer.finished = True
    elif "contentBlockDelta" in event:
        answer.hear((event["contentBlockDelta"].get("delta") or {}).get("text") or "")
    elif "error" in event:
        answer.error = event["error"]


def _metadata(said: dict[str, Any], answer: Answer) -> None:
    usage = said.get("usage")
    if usage:
        answer.usage = converse_usage(usage)
    tier = field(said.get("serviceTier") or {}, "type")
    if tier:
        answer.say("gen_ai.response.service_tier", tier)
    routed = ((said.get("trace") or {}).get("promptRouter") or {}).get("invokedModelId")
    if routed:
        answer.model = routed


def read_invoke_headers(headers: Mapping[str, str], answer: Answer) -> None:
    """The body is the application's to read; the meters stand in the headers."""

    def number(name: str) -> int | None:
        value = headers.get(f"x-amzn-bedrock-{name}-token-count", "")
        return int(value) if value.isdigit() else None

    fresh, read, write = number("input"), number("cache-read-input"), number("cache-write-input")
    if fresh is not None:
        output = number("output")
        answer.usage = Usage(input=_total(fresh, read, write), output=output or 0, cache_read=read, cache_write=write)
    answer.finished = True


def read_invoke_event(event: dict[str, Any], answer: Answer) -> None:
    if "error" in event:
        answer.error = event["error"]
        return
    chunk = event.get("chunk") or {}
    answer.hear(_text(chunk))
    metrics = chunk.get("amazon-bedrock-invocationMetrics")
    if metrics:
        read, write = count(metrics, "cacheReadInputTokenCount"), count(metrics, "cacheWriteInputTokenCount")
        answer.usage = Usage(
            input=_total(count(metrics, "inputTokenCount"), read, write),
            output=count(metrics, "outputTokenCount"),
            cache_read=read,
            cache_write=write,
        )
        answer.finished = True


def _text(chunk: dict[str, Any]) -> str:
    """What a chunk says, in the formats of the models that are called so: Anthropic's, Nova's, Llama's, Titan's, Mistral's."""
    delta = chunk.get("delta") or (chunk.get("contentBlockDelta") or {}).get("delta") or {}
    for text in (delta.get("text"), chunk.get("generation"), chunk.get("outputText")):
        if isinstance(text, str):
            return text
    return "".join(str(one.get("text") or "") for one in chunk.get("outputs") or ())
