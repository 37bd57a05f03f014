"""OpenAI's wire format: chat completions, plain and streamed."""

from collections.abc import Iterator, Mapping
from typing import Any

from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words

#: The snapshot that answers when an alias is asked for, as the provider does it.
SNAPSHOTS = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini": "gpt-4o-mini-2024-07-18", "gpt-4.1": "gpt-4.1-2025-04-14"}

_ERRORS = {
    400: ("invalid_request_error", "invalid_value"),
    401: ("authentication_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
}


def answer(request: Request) -> Answer | None:
    """Chat completions, under any prefix (`/v1`, `/openai/deployments/…`)."""
    if request.method != "POST" or not request.path.endswith("/chat/completions"):
        return None
    deployment = request.path.split("/deployments/")[-1].split("/")[0] if "/deployments/" in request.path else ""
    model = request.model or deployment
    named = {"x-request-id": f"req_{request.number:08d}", "openai-processing-ms": "1"}
    if status := failing_status(model):
        return answer_json(error(status), status, named)
    usage = usage_of(request.body)
    head = {
        "id": f"chatcmpl-{request.number:08d}",
        "created": 1_790_000_000,
        "model": SNAPSHOTS.get(model, model),
        "service_tier": tier(request.body),
        "system_fingerprint": "fp_stand_in",
    }
    if request.body.get("stream"):
        return answer_events(_chunks(request.body, head, usage, model), named, cut=model == "cut-stream")
    finish = "length" if usage.output < 16 else "stop"
    choices: list[dict[str, Any]] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": said(request.body, usage), "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": finish,
        }
        for index in range(request.body.get("n") or 1)
    ]
    return answer_json({**head, "object": "chat.completion", "choices": choices, "usage": chat_usage(usage)}, headers=named)


def error(status: int) -> dict[str, Any]:
    kind, code = _ERRORS.get(status, ("server_error", None))
    return {"error": {"message": f"The stand-in was asked to fail with {status}.", "type": kind, "param": None, "code": code}}


def tier(body: Mapping[str, Any]) -> str:
    asked = body.get("service_tier")
    return asked if asked in ("flex", "priority", "scale") else "default"


def said(body: Mapping[str, Any], usage: StandInUsage) -> str:
    """The answer's text: JSON where JSON was asked for."""
    if (body.get("response_format") or {}).get("type") in ("json_schema", "json_object"):
        return '{"answer": "counted once", "score": 1}'
    return "".join(words(usage.output - usage.reasoning))


def chat_usage(usage: StandInUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": usage.audio,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chunks(body: Mapping[str, Any], head: Mapping[str, Any], usage: StandInUsage, model: str) -> Iterator[bytes]:
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))

    def chunk(choices: list[dict[str, Any]], used: dict[str, Any] | None = None) -> bytes:
        document = {**head, "object": "chat.completion.chunk", "choices": choices}
        # With include_usage the field is in every chunk, null until the last; without, in none.
        return event({**document, "usage": used} if wants_usage else document)

    def choice(index: int, delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]

    count = body.get("n") or 1
    text = said(body, usage)
    pieces = [text] if text.startswith("{") else words(usage.output - usage.reasoning)
    for index in range(count):
        yield chunk(choice(index, {"role": "assistant", "content": "", "refusal": None}))
    for place, piece in enumerate(pieces):
        if place == 3 and model == "error-stream":
            yield event(error(500))
            return
        if place == 3 and model == "cut-stream":
            return
        for index in range(count):
            yield chunk(choice(index, {"content": piece}))
    for index in range(count):
        yield chunk(choice(index, {}, "stop"))
    if wants_usage:
        yield chunk([], chat_usage(usage))
    yield b"data: [DONE]\n\n"
