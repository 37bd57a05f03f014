"""What Mistral's wire format has beside OpenAI's: agents, fill in the middle, conversations, pages."""

from collections.abc import Iterator
from typing import Any

from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words

#: Pages in every document that is sent here.
PAGES = 3


def answer(request: Request) -> Answer | None:
    path = request.path.removeprefix("/mistral")
    on_google = "/publishers/mistralai/" in path
    if request.method != "POST" or (path == request.path and not on_google):
        return None
    model = str(request.body.get("model") or request.body.get("agent_id") or "")
    if status := failing_status(model):
        said = {"object": "error", "message": f"The stand-in was asked to fail with {status}.", "type": "invalid_request_error"}
        return answer_json({**said, "param": None, "code": "3000"}, status)
    usage = usage_of({**request.body, "messages": request.body.get("messages") or request.body.get("inputs") or []})
    if path.endswith(("/chat/completions", "/agents/completions", "/fim/completions")) or on_google:
        return _completion(request, model, usage)
    if path.endswith("/embeddings"):
        vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        used = {"prompt_tokens": usage.input, "total_tokens": usage.input, "completion_tokens": 0}
        return answer_json({"id": "emb-1", "object": "list", "data": vectors, "model": model, "usage": used})
    if path.endswith("/audio/transcriptions"):
        used = {**_used(usage), "prompt_audio_seconds": 7}
        return answer_json({"model": model, "text": "Counted once.", "language": "en", "segments": [], "usage": used})
    if path.endswith("/ocr"):
        pages: list[Any] = [{"index": place, "markdown": "# Page", "images": [], "dimensions": None} for place in range(PAGES)]
        return answer_json({"pages": pages, "model": model, "usage_info": {"pages_processed": PAGES, "doc_size_bytes": 9}})
    if "/v1/conversations" in path:
        return _conversation(request, model, usage)
    return None


def _used(usage: StandInUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    }


def _completion(request: Request, model: str, usage: StandInUsage) -> Answer:
    head = {"id": f"{request.number:032d}", "created": 1_790_000_000, "model": model}
    if request.body.get("stream"):
        return answer_events(_chunks(head, model, usage), cut=model == "cut-stream")
    message = {"role": "assistant", "content": "".join(words(usage.output)), "tool_calls": None}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return answer_json({**head, "object": "chat.completion", "choices": [choice], "usage": _used(usage)})


def _chunks(head: dict[str, Any], model: str, usage: StandInUsage) -> Iterator[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({**head, "object": "chat.completion.chunk", "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    for place, piece in enumerate(words(usage.output)):
        if place == 3 and model == "cut-stream":
            return
        yield chunk({"content": piece})
    yield chunk({"content": ""}, "stop", usage=_used(usage))
    yield b"data: [DONE]\n\n"


def _conversation(request: Request, model: str, usage: StandInUsage) -> Answer:
    identity = f"conv_{request.number:08d}"
    used = {**_used(usage), "connector_tokens": 0, "connectors": {"web_search": 2}}
    if request.body.get("stream"):
        return answer_events(_conversation_events(identity, model, usage, used))
    said = {"object": "entry", "type": "message.output", "id": "msg_1", "model": model, "role": "assistant"}
    outputs = [{**said, "content": "".join(words(usage.output))}]
    return answer_json({"object": "conversation.response", "conversation_id": identity, "outputs": outputs, "usage": used})


def _conversation_events(identity: str, model: str, usage: StandInUsage, used: dict[str, Any]) -> Iterator[bytes]:
    def named(kind: str, **more: Any) -> bytes:
        return event({"type": kind, "created_at": "2026-09-21T14:00:00Z", **more}, kind)

    yield named("conversation.response.started", conversation_id=identity)
    for piece in words(usage.output):
        yield named(
            "message.output.delta", id="msg_1", role="assistant", content=piece, model=model, content_index=0, output_index=0
        )
    yield named("conversation.response.done", usage=used)
