"""OpenAI's embeddings, images, audio, video, moderations, batches and completions on the wire."""

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from spanledger.cli.provider_stand_in.openai_wire import SNAPSHOTS, error
from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words

#: Seconds of sound that every file sent here is taken to last.
SECONDS = 12.5


def answer(request: Request) -> Answer | None:
    """Each by the end of its path."""
    kind = next((ending for ending in _ANSWERS if request.path.endswith(ending)), None)
    if request.method == "GET" and "/batches/batch_" in request.path:
        return answer_json(_batch(request.path.rsplit("/", 1)[-1]))
    if request.method != "POST" or kind is None or request.path.endswith("/chat/completions"):
        return None
    named = {"x-request-id": f"req_{request.number:08d}"}
    if status := failing_status(request.model):
        return answer_json(error(status), status, headers=named)
    answered = _ANSWERS[kind](request, usage_of(request.body))
    return answered if isinstance(answered, Answer) else answer_json(answered, headers=named)


def _embeddings(request: Request, usage: StandInUsage) -> Any:
    given = request.body.get("input")
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    numbers = [0.25] * (request.body.get("dimensions") or 8)
    coded: Any = numbers
    if request.body.get("encoding_format") == "base64":
        coded = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    vectors = [{"object": "embedding", "index": place, "embedding": coded} for place in range(count)]
    used = {"prompt_tokens": usage.input, "total_tokens": usage.input}
    return {"object": "list", "data": vectors, "model": request.model, "usage": used}


def _image_usage(usage: StandInUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"text_tokens": usage.input - usage.images, "image_tokens": usage.images},
        "output_tokens": usage.output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": usage.output},
        "total_tokens": usage.input + usage.output,
    }


def _images(request: Request, usage: StandInUsage) -> Any:
    tokens = request.model.startswith("gpt-image")
    if request.body.get("stream"):
        return answer_events(_image_events(usage))
    made = [{"b64_json": "aGk="} for _ in range(int(request.body.get("n") or 1))]
    answered: dict[str, Any] = {"created": 1_790_000_000, "data": made}
    return {**answered, "usage": _image_usage(usage), "size": "1024x1024", "quality": "high"} if tokens else answered


def _image_events(usage: StandInUsage) -> Iterator[bytes]:
    told = {
        "b64_json": "aGk=",
        "background": "opaque",
        "created_at": 1,
        "output_format": "png",
        "quality": "high",
        "size": "1024x1024",
    }
    yield event({"type": "image_generation.partial_image", "partial_image_index": 0, **told}, "image_generation.partial_image")
    yield event({"type": "image_generation.completed", "usage": _image_usage(usage), **told}, "image_generation.completed")


def _speech(request: Request, usage: StandInUsage) -> Answer:
    if request.body.get("stream_format") == "sse":
        used = {"input_tokens": usage.input, "output_tokens": usage.output, "total_tokens": usage.input + usage.output}
        events = (
            event({"type": "speech.audio.delta", "audio": "aGk="}),
            event({"type": "speech.audio.done", "usage": used}),
        )
        return answer_events(events)
    return Answer(headers={"content-type": "audio/mpeg"}, chunks=(b"ID3" + bytes(64),) * 4)


def _transcription(request: Request, usage: StandInUsage) -> Any:
    text = "".join(words(8))
    form = request.body.get("response_format")
    if form in ("text", "srt", "vtt"):
        return Answer(headers={"content-type": "text/plain"}, content=text.encode())
    tokens = {
        "type": "tokens",
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "input_token_details": {"text_tokens": 0, "audio_tokens": usage.input},
    }
    if request.body.get("stream") in (True, "true"):
        return answer_events(
            (
                event({"type": "transcript.text.delta", "delta": text}, "transcript.text.delta"),
                event({"type": "transcript.text.done", "text": text, "usage": tokens}, "transcript.text.done"),
            )
        )
    if form == "verbose_json":
        return {"task": "transcribe", "language": "english", "duration": SECONDS, "text": text, "segments": []}
    if request.path.endswith("/translations"):
        return {"text": text}
    return {"text": text, "usage": {"type": "duration", "seconds": SECONDS} if request.model == "whisper-1" else tokens}


def _moderation(request: Request, usage: StandInUsage) -> Any:
    result: dict[str, Any] = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    return {"id": f"modr-{request.number}", "model": request.model or "omni-moderation-latest", "results": [result]}


def _video(request: Request, usage: StandInUsage) -> Any:
    return {
        "id": f"video_{request.number}",
        "object": "video",
        "created_at": 1_790_000_000,
        "model": request.model or "sora-2",
        "progress": 0,
        "seconds": str(request.body.get("seconds") or 4),
        "size": request.body.get("size") or "720x1280",
        "status": "queued",
    }


def _completion(request: Request, usage: StandInUsage) -> Any:
    head = {
        "id": f"cmpl-{request.number:08d}",
        "object": "text_completion",
        "created": 1_790_000_000,
        "model": SNAPSHOTS.get(request.model, request.model),
    }
    used = {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output}

    def choice(text: str, finish: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}

    if not request.body.get("stream"):
        return {**head, "choices": [choice("".join(words(usage.output)), "stop")], "usage": used}

    def events() -> Iterator[bytes]:
        for piece in words(usage.output):
            yield event({**head, "choices": [choice(piece, None)]})
        yield event({**head, "choices": [choice("", "stop")]})
        if (request.body.get("stream_options") or {}).get("include_usage"):
            yield event({**head, "choices": [], "usage": used})
        yield b"data: [DONE]\n\n"

    return answer_events(events())


def _batch(name: str) -> Mapping[str, Any]:
    return {
        "id": name,
        "object": "batch",
        "completion_window": "24h",
        "created_at": 1_790_000_000,
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "status": "in_progress" if name.endswith("running") else "completed",
        "model": "gpt-4o-2024-08-06",
        "request_counts": {"total": 3, "completed": 3, "failed": 0},
        "usage": {
            "input_tokens": 300,
            "input_tokens_details": {"cached_tokens": 90},
            "output_tokens": 120,
            "output_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 420,
        },
    }


_ANSWERS: Mapping[str, Any] = {
    "/embeddings": _embeddings,
    "/images/generations": _images,
    "/images/edits": _images,
    "/images/variations": _images,
    "/audio/speech": _speech,
    "/audio/transcriptions": _transcription,
    "/audio/translations": _transcription,
    "/moderations": _moderation,
    "/videos": _video,
    "/completions": _completion,
}
