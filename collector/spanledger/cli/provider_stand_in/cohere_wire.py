"""Cohere's wire formats: v1 streams JSON lines, v2 server-sent events; both bill in units beside the tokens consumed."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words

_KINDS = ("v1/chat", "v2/chat", "v1/generate", "v1/embed", "v2/embed", "v1/rerank", "v2/rerank", "v1/classify")


def answer(request: Request) -> Answer | None:
    """By the end of the path; embeddings of OpenAI's format end otherwise."""
    kind = next((kind for kind in _KINDS if request.path.endswith("/" + kind)), None)
    if request.method != "POST" or kind is None:
        return None
    if status := failing_status(request.model):
        return answer_json({"id": f"{request.number:08d}", "message": f"The stand-in was asked to fail with {status}."}, status)
    usage = usage_of({**request.body, "prompt": _prompt(request.body)})
    identity = f"{request.number:08d}-0000-0000-0000-000000000000"
    streamed, cut = bool(request.body.get("stream")), request.model == "cut-stream"
    if kind == "v2/chat":
        return (
            answer_events(_v2_events(identity, request.model, usage), cut=cut) if streamed else answer_json(_v2(identity, usage))
        )
    if kind in ("v1/chat", "v1/generate"):
        if not streamed:
            return answer_json(_v1(identity, usage) if kind == "v1/chat" else _generated(identity, usage))
        lines = (json.dumps(line).encode() + b"\n" for line in _v1_events(identity, request.model, usage))
        return Answer(headers={"content-type": "application/stream+json"}, chunks=lines, cut=cut)
    return answer_json(_numbers(kind, request.body, identity, usage))


def _prompt(body: Mapping[str, Any]) -> str:
    said = [body.get("prompt"), body.get("message"), body.get("query"), *(body.get("texts") or ()), *(body.get("inputs") or ())]
    return " ".join(text for text in said if isinstance(text, str))


def _meter(usage: StandInUsage) -> dict[str, Any]:
    """The tokens consumed hold the template around the prompt; what is billed does not."""
    return {
        "billed_units": {"input_tokens": float(usage.input), "output_tokens": float(usage.output)},
        "tokens": {"input_tokens": float(usage.input + 63), "output_tokens": float(usage.output)},
    }


def _v2(identity: str, usage: StandInUsage) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"type": "text", "text": "".join(words(usage.output))}]}
    used = {**_meter(usage), "cached_tokens": float(usage.cache_read)}
    return {"id": identity, "finish_reason": "COMPLETE", "message": message, "usage": used}


def _v2_events(identity: str, model: str, usage: StandInUsage) -> Iterator[bytes]:
    def named(kind: str, **more: Any) -> bytes:
        return event({"type": kind, **more}, kind)

    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield named("message-start", id=identity, delta={"message": message})
    yield named("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})
    for place, piece in enumerate(words(usage.output)):
        if place == 3 and model == "error-stream":
            yield named("message-end", id=identity, delta={"finish_reason": "ERROR", "error": "The stand-in was asked to."})
            return
        if place == 3 and model == "cut-stream":
            return
        yield named("content-delta", index=0, delta={"message": {"content": {"text": piece}}})
    yield named("content-end", index=0)
    used = {**_meter(usage), "cached_tokens": float(usage.cache_read)}
    yield named("message-end", id=identity, delta={"finish_reason": "COMPLETE", "usage": used})


def _v1(identity: str, usage: StandInUsage) -> dict[str, Any]:
    return {
        "response_id": identity,
        "generation_id": "11111111-0000-0000-0000-000000000000",
        "text": "".join(words(usage.output)),
        "chat_history": [],
        "finish_reason": "COMPLETE",
        "meta": {"api_version": {"version": "1"}, **_meter(usage)},
    }


def _v1_events(identity: str, model: str, usage: StandInUsage) -> Iterator[dict[str, Any]]:
    yield {"is_finished": False, "event_type": "stream-start", "generation_id": "11111111-0000-0000-0000-000000000000"}
    for place, piece in enumerate(words(usage.output)):
        if place == 3 and model == "cut-stream":
            return
        yield {"is_finished": False, "event_type": "text-generation", "text": piece}
    ended = {"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE"}
    yield {**ended, "response": _v1(identity, usage)}


def _generated(identity: str, usage: StandInUsage) -> dict[str, Any]:
    made = [{"id": identity, "text": "".join(words(usage.output)), "finish_reason": "COMPLETE"}]
    return {"id": identity, "generations": made, "prompt": "", "meta": {"api_version": {"version": "1"}, **_meter(usage)}}


def _numbers(kind: str, body: Mapping[str, Any], identity: str, usage: StandInUsage) -> dict[str, Any]:
    version = {"api_version": {"version": kind[1]}}
    if kind.endswith("rerank"):
        ranks = [{"index": place, "relevance_score": 0.5} for place in range(len(body.get("documents") or ()))]
        return {"id": identity, "results": ranks, "meta": {**version, "billed_units": {"search_units": 1.0}}}
    if kind.endswith("classify"):
        sorted_ = [_classified(identity, text) for text in body.get("inputs") or ()]
        units = {"billed_units": {"classifications": float(len(sorted_))}}
        return {"id": identity, "classifications": sorted_, "meta": {**version, **units}}
    texts = body.get("texts") or [""]
    numbers = [[0.5, 0.25] for _ in texts]
    typed = bool(body.get("embedding_types")) or kind == "v2/embed"
    return {
        "id": identity,
        "texts": list(texts),
        "embeddings": {"float": numbers} if typed else numbers,
        "meta": {**version, "billed_units": {"input_tokens": float(usage.input)}},
        "response_type": "embeddings_by_type" if typed else "embeddings_floats",
    }


def _classified(identity: str, text: str) -> dict[str, Any]:
    sure = {"a": {"confidence": 0.9}}
    best = {"prediction": "a", "predictions": ["a"], "confidence": 0.9, "confidences": [0.9], "labels": sure}
    return {"id": identity, "input": text, **best, "classification_type": "single-label"}
