"""Ollama's wire format: JSON, and streams of JSON lines."""

import json
from collections.abc import Iterator
from typing import Any

from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_json, failing_status, words


def answer(request: Request) -> Answer | None:
    kind = request.path.partition("/api/")[2]
    if request.method != "POST" or kind not in ("chat", "generate", "embed", "embeddings"):
        return None
    if status := failing_status(request.model):
        return answer_json({"error": f"The stand-in was asked to fail with {status}."}, status)
    usage = usage_of(request.body)
    if kind == "embed":
        given = request.body.get("input")
        count = len(given) if isinstance(given, list) else 1
        embedded = {"model": request.model, "embeddings": [[0.5, 0.25]] * count}
        return answer_json({**embedded, "total_duration": 9, "load_duration": 1, "prompt_eval_count": usage.input})
    if kind == "embeddings":
        return answer_json({"embedding": [0.5, 0.25]})
    head = {"model": request.model, "created_at": "2026-09-21T14:00:00.000000Z"}
    # A stream is what is given unless it is refused.
    if request.body.get("stream", True):
        lines = (json.dumps(line).encode() + b"\n" for line in _lines(kind, head, request.model, usage))
        return Answer(headers={"content-type": "application/x-ndjson"}, chunks=lines, cut=request.model == "cut-stream")
    return answer_json({**head, **_said(kind, "".join(words(usage.output))), **_ended(usage)})


def _said(kind: str, text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}} if kind == "chat" else {"response": text}


def _ended(usage: StandInUsage) -> dict[str, Any]:
    times = {"total_duration": 9, "load_duration": 1, "prompt_eval_duration": 2, "eval_duration": 6}
    return {"done": True, "done_reason": "stop", **times, "prompt_eval_count": usage.input, "eval_count": usage.output}


def _lines(kind: str, head: dict[str, Any], model: str, usage: StandInUsage) -> Iterator[dict[str, Any]]:
    for place, piece in enumerate(words(usage.output)):
        if place == 3 and model == "error-stream":
            yield {"error": "The stand-in was asked to."}
            return
        if place == 3 and model == "cut-stream":
            return
        yield {**head, **_said(kind, piece), "done": False}
    yield {**head, **_said(kind, ""), **_ended(usage)}
