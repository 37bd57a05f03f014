"""Anthropic's wire format: messages, plain and streamed, there and on Vertex AI, and token counting."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def answer(request: Request) -> Answer | None:
    """Messages under any prefix; on Vertex AI the model stands in the path."""
    named = {"request-id": f"req_{request.number:08d}", "anthropic-organization-id": "org-stand-in"}
    if request.method == "POST" and request.path.endswith("/v1/messages/count_tokens"):
        return answer_json({"input_tokens": usage_of(request.body).input}, headers=named)
    if request.method == "GET" and "/v1/messages/batches/" in request.path:
        return _batch(request)
    model = _model(request)
    if request.method != "POST" or model is None:
        return None
    if status := failing_status(model):
        return answer_json(error(status), status, named)
    usage = usage_of(request.body)
    if request.body.get("stream"):
        events = (event(document, document["type"]) for document in message_events(model, request.number, usage))
        return answer_events(events, named, cut=model == "cut-stream")
    return answer_json(whole_message(model, request.number, usage, request.body), headers=named)


def _model(request: Request) -> str | None:
    if request.path.endswith("/v1/messages"):
        return request.model
    _, there, called = request.path.rpartition("/publishers/anthropic/models/")
    model, _, method = called.rpartition(":")
    return model if there and method in ("rawPredict", "streamRawPredict") else None


def _head(model: str, number: int) -> dict[str, Any]:
    return {"id": f"msg_{number:08d}", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}


def whole_message(model: str, number: int, usage: StandInUsage, body: Mapping[str, Any]) -> dict[str, Any]:
    """A message of text. One that is offered tools calls the first of them, until it is told a tool's result."""
    content: list[dict[str, Any]] = [{"type": "text", "text": "".join(words(usage.output - usage.reasoning))}]
    reason = "end_turn"
    if body.get("tools") and "tool_result" not in json.dumps(body.get("messages")):
        content.append({"type": "tool_use", "id": f"toolu_{number:08d}", "name": body["tools"][0]["name"], "input": {}})
        reason = "tool_use"
    return {
        **_head(model, number),
        "content": content,
        "stop_reason": reason,
        "usage": {**messages_usage(usage), **_iterations(model, usage)},
    }


def error(status: int) -> dict[str, Any]:
    kind = _ERRORS.get(status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": f"The stand-in was asked to fail with {status}."},
        "request_id": None,
    }


def messages_usage(usage: StandInUsage, output: int | None = None) -> dict[str, Any]:
    """Here `input_tokens` leaves the cache out."""
    return {
        "input_tokens": usage.input - usage.cache_read - usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output if output is None else output,
        "service_tier": "standard",
    }


def _iterations(model: str, usage: StandInUsage) -> dict[str, Any]:
    """What the numbers at the top leave out: models named `compacts-…` compact first, `advised-…` ask Opus once."""
    if model.startswith("compacts-"):
        beside = {"type": "compaction", **messages_usage(StandInUsage(input=70, output=30, cache_read=20))}
    elif model.startswith("advised-"):
        beside = {"type": "advisor_message", "model": "claude-opus-4-6", **messages_usage(StandInUsage(input=200, output=60))}
    else:
        return {}
    beside.pop("service_tier")
    answered = {"type": "message", **messages_usage(usage)}
    answered.pop("service_tier")
    return {"iterations": [beside, answered], "inference_geo": "us"}


def message_events(model: str, number: int, usage: StandInUsage) -> Iterator[dict[str, Any]]:
    """The same message, of text only, as events."""
    start = {**_head(model, number), "content": [], "stop_reason": None, "usage": messages_usage(usage, output=1)}
    yield {"type": "message_start", "message": start}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "ping"}
    for place, piece in enumerate(words(usage.output - usage.reasoning)):
        if place == 3 and model == "error-stream":
            yield error(529)
            return
        if place == 3 and model == "cut-stream":
            return
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": usage.output, **_iterations(model, usage)}}
    yield {"type": "message_stop"}


def _batch(request: Request) -> Answer:
    """A batch that has ended, or its results: two that succeeded and one that did not."""
    if not request.path.endswith("/results"):
        name = request.path.rsplit("/", 1)[-1]
        counts = {"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 0}
        batch = {"id": name, "type": "message_batch", "processing_status": "ended", "request_counts": counts}
        at = "2026-11-25T00:00:00Z"
        batch |= {"created_at": at, "expires_at": at, "ended_at": at}
        return answer_json({**batch, "results_url": f"http://{request.headers['host']}{request.path}/results"})
    usage = {**messages_usage(StandInUsage(input=100, output=40, cache_read=60)), "service_tier": "batch"}
    name = request.path.split("/")[-2]
    results: list[dict[str, Any]] = [
        {
            "type": "succeeded",
            "message": {
                "id": f"msg_{name}_{place}",
                "type": "message",
                "role": "assistant",
                "model": "claude-opus-4-6",
                "content": [],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": usage,
            },
        }
        for place in range(2)
    ]
    results.append({"type": "errored", "error": error(400)})
    lines = (json.dumps({"custom_id": str(place), "result": result}) + "\n" for place, result in enumerate(results))
    return Answer(headers={"content-type": "application/x-jsonl"}, chunks=[line.encode() for line in lines])
