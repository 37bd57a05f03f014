"""Amazon Bedrock's wire format: Converse and InvokeModel, plain and as AWS event streams."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from spanledger.cli.provider_stand_in.anthropic_wire import message_events, whole_message
from spanledger.cli.provider_stand_in.aws_events import event, exception
from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_json, failing_status, words

_ERRORS = {
    400: "ValidationException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
}


def answer(request: Request) -> Answer | None:
    """`/model/<id>/<operation>`."""
    if request.method != "POST" or not request.path.startswith("/model/"):
        return None
    model, _, operation = request.path.removeprefix("/model/").rpartition("/")
    named = {"x-amzn-requestid": f"00000000-0000-0000-0000-{request.number:012d}"}
    if status := failing_status(model):
        kind = _ERRORS.get(status, "InternalServerException")
        said = {"message": f"The stand-in was asked to fail with {status}."}
        return answer_json(said, status, {**named, "x-amzn-errortype": kind})
    body = request.body or json.loads(request.content or b"{}")
    usage = usage_of({**body, "prompt": body.get("prompt") or body.get("inputText") or ""})
    if operation == "converse":
        return answer_json(_converse(body, usage), headers=named)
    if operation == "converse-stream":
        return _streamed(_converse_events(model, usage), named, cut=model == "cut-stream")
    if operation == "invoke":
        return answer_json(_invoked(model, usage, request), headers={**named, **_headers(usage)})
    if operation == "invoke-with-response-stream":
        kept = {**named, "x-amzn-bedrock-content-type": "application/json"}
        return _streamed(_invoke_events(model, usage, request), kept, cut=model == "cut-stream")
    return None


def _streamed(events: Iterator[bytes], headers: dict[str, str], *, cut: bool) -> Answer:
    return Answer(headers={"content-type": "application/vnd.amazon.eventstream", **headers}, chunks=events, cut=cut)


def converse_usage(usage: StandInUsage) -> dict[str, Any]:
    """What is read from the cache and written to it stands beside the input."""
    counts: dict[str, Any] = {
        "inputTokens": usage.input - usage.cache_read - usage.cache_write,
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }
    kept = {"5m": usage.cache_write_5m, "1h": usage.cache_write_1h}
    counts["cacheDetails"] = [{"ttl": ttl, "inputTokens": number} for ttl, number in kept.items() if number]
    return counts


def _converse(body: Any, usage: StandInUsage) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"text": "".join(words(usage.output))}]}
    tier = (body.get("serviceTier") or {}).get("type", "default")
    return {
        "output": {"message": message},
        "stopReason": "end_turn",
        "usage": converse_usage(usage),
        "metrics": {"latencyMs": 12},
        "serviceTier": {"type": tier},
    }


def _converse_events(model: str, usage: StandInUsage) -> Iterator[bytes]:
    yield event("messageStart", {"role": "assistant"})
    for place, piece in enumerate(words(usage.output)):
        if place == 3 and model == "error-stream":
            yield exception("modelStreamErrorException", {"message": "The stand-in was asked to.", "originalStatusCode": 500})
            return
        if place == 3 and model == "cut-stream":
            return
        yield event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
    yield event("contentBlockStop", {"contentBlockIndex": 0})
    yield event("messageStop", {"stopReason": "end_turn"})
    yield event("metadata", {"usage": converse_usage(usage), "metrics": {"latencyMs": 12}, "serviceTier": {"type": "default"}})


def _headers(usage: StandInUsage) -> dict[str, str]:
    counts = {
        "input": usage.input - usage.cache_read - usage.cache_write,
        "output": usage.output,
        "cache-read-input": usage.cache_read,
        "cache-write-input": usage.cache_write,
    }
    told = {f"x-amzn-bedrock-{name}-token-count": str(number) for name, number in counts.items()}
    return {**told, "x-amzn-bedrock-invocation-latency": "12"}


def _invoked(model: str, usage: StandInUsage, request: Request) -> dict[str, Any]:
    if "embed" in model:
        return {"embedding": [0.5, 0.25], "inputTextTokenCount": usage.input}
    return whole_message(model, request.number, usage, request.body)


def _invoke_events(model: str, usage: StandInUsage, request: Request) -> Iterator[bytes]:
    def chunk(document: dict[str, Any]) -> bytes:
        return event("chunk", {"bytes": base64.b64encode(json.dumps(document).encode()).decode(), "p": "abcdefgh"})

    for document in message_events(model, request.number, usage):
        if document["type"] == "error":
            yield exception("modelStreamErrorException", {"message": "The stand-in was asked to.", "originalStatusCode": 500})
            return
        if document["type"] != "message_stop":
            yield chunk(document)
    if model == "cut-stream":
        return
    metrics = {
        "inputTokenCount": usage.input - usage.cache_read - usage.cache_write,
        "outputTokenCount": usage.output,
        "cacheReadInputTokenCount": usage.cache_read,
        "cacheWriteInputTokenCount": usage.cache_write,
        "invocationLatency": 12,
        "firstByteLatency": 3,
    }
    yield chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics})
