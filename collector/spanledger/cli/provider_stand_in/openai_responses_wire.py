"""OpenAI's Responses on the wire: responses, compactions and decisions, plain and as events."""

from collections.abc import Iterator, Mapping
from typing import Any

from spanledger.cli.provider_stand_in.openai_wire import SNAPSHOTS, error, tier
from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words


def answer(request: Request) -> Answer | None:
    """`/responses` and its kin under any prefix. `background` answers `queued`, and retrieving it `completed`."""
    named = {"x-request-id": f"req_{request.number:08d}"}
    if request.method == "GET" and "/responses/resp_" in request.path:
        return answer_json(_retrieved(request), headers=named)
    if request.method == "POST" and request.path.endswith("/decisions"):
        used = responses_usage(usage_of(request.body))
        decision = {"id": "dec_1", "object": "decision", "model": request.model, "answer": None, "usage": used}
        return answer_json(decision, headers=named)
    if request.method != "POST" or not request.path.endswith(("/responses", "/responses/compact")):
        return None
    if status := failing_status(request.model):
        return answer_json(error(status), status, headers=named)
    usage = usage_of(request.body)
    if request.body.get("stream"):
        return answer_events(_events(request, usage), headers=named, cut=request.model == "cut-stream")
    if request.body.get("background"):
        return answer_json({**_head(request), "status": "queued", "output": [], "usage": None}, headers=named)
    return answer_json(_whole(request, usage), headers=named)


def responses_usage(usage: StandInUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def _head(request: Request) -> dict[str, Any]:
    return {
        "id": f"resp_{request.number:08d}",
        "object": "response",
        "created_at": 1_790_000_000,
        "model": SNAPSHOTS.get(request.model, request.model),
        "background": bool(request.body.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": tier(request.body),
    }


def _whole(request: Request, usage: StandInUsage) -> dict[str, Any]:
    """The models `incomplete` and `failing` end that way, without an HTTP error."""
    response = {**_head(request), "status": "completed", "usage": responses_usage(usage), "output": _output(request.body, usage)}
    if request.model == "incomplete":
        response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    elif request.model == "failing":
        response |= {"status": "failed", "error": {"code": "server_error", "message": "asked to fail"}, "output": []}
    return response


def _output(body: Mapping[str, Any], usage: StandInUsage) -> list[dict[str, Any]]:
    asks = [tool.get("type") for tool in body.get("tools") or ()]
    output: list[dict[str, Any]] = [
        {"type": "web_search_call", "id": f"ws_{place}", "status": "completed", "action": {"type": "search", "query": "q"}}
        for place, kind in enumerate(asks)
        if kind == "web_search"
    ]
    text = "".join(words(usage.output - usage.reasoning))
    if (body.get("text") or {}).get("format", {}).get("type") == "json_schema":
        text = '{"answer": "counted once", "score": 1}'
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return [*output, {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}]


def _events(request: Request, usage: StandInUsage) -> Iterator[bytes]:
    number = iter(range(1_000_000))

    def named(kind: str, **more: Any) -> bytes:
        return event({"type": kind, "sequence_number": next(number), **more}, kind)

    begun = {**_head(request), "status": "in_progress", "output": [], "usage": None}
    yield named("response.created", response=begun)
    yield named("response.in_progress", response=begun)
    output = _output(request.body, usage)
    item = output[-1]
    place = {"output_index": len(output) - 1, "item_id": item["id"], "content_index": 0}
    yield named("response.output_item.added", output_index=place["output_index"], item={**item, "content": []})
    part = {**item["content"][0], "text": ""}
    yield named("response.content_part.added", **place, part=part)
    text = item["content"][0]["text"]
    for step, piece in enumerate([text] if text.startswith("{") else words(usage.output - usage.reasoning)):
        if step == 3 and request.model == "cut-stream":
            return
        if step == 3 and request.model == "error-stream":
            yield named("error", code="server_error", message="asked to fail", param=None)
            return
        yield named("response.output_text.delta", **place, delta=piece, logprobs=[])
    yield named("response.output_text.done", **place, text=text, logprobs=[])
    yield named("response.content_part.done", **place, part=item["content"][0])
    yield named("response.output_item.done", output_index=place["output_index"], item=item)
    whole = _whole(request, usage)
    yield named(f"response.{whole['status']}", response=whole)


def _retrieved(request: Request) -> dict[str, Any]:
    usage = StandInUsage(input=100, output=40)
    response = _whole(request, usage)
    return {
        **response,
        "id": request.path.rsplit("/", 1)[-1],
        "model": "gpt-4o-2024-08-06",
        "background": "plain" not in request.path,
    }
