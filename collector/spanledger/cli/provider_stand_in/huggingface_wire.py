"""Text Generation Inference's wire format and Hugging Face's tasks, under `/huggingface/…`; its chat is OpenAI's."""

from collections.abc import Iterator
from typing import Any

from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, words


def answer(request: Request) -> Answer | None:
    if request.method != "POST" or not request.path.startswith("/huggingface") or "completions" in request.path:
        return None
    given = request.body.get("inputs")
    usage = usage_of({"prompt": given if isinstance(given, str) else ""})
    if "/image" in request.path:
        return Answer(headers={"content-type": "image/png"}, content=b"not really a picture")
    if "/speech" in request.path:
        return Answer(headers={"content-type": "audio/flac"}, content=b"not really a sound")
    if "/embed" in request.path:
        return answer_json([[0.5, 0.25]])
    if request.body.get("stream"):
        return answer_events(_events(usage))
    parameters = request.body.get("parameters") or {}
    said: dict[str, Any] = {"generated_text": "".join(words(usage.output))}
    if parameters.get("details"):
        said["details"] = {**_details(usage), "prefill": [], "tokens": []}
    return answer_json([said])


def _details(usage: StandInUsage) -> dict[str, Any]:
    return {"finish_reason": "eos_token", "generated_tokens": usage.output, "input_length": usage.input, "seed": None}


def _events(usage: StandInUsage) -> Iterator[bytes]:
    pieces = words(usage.output)
    for place, piece in enumerate(pieces):
        last = place == len(pieces) - 1
        token = {"id": place, "text": piece, "logprob": -0.5, "special": False}
        text = "".join(pieces) if last else None
        yield event({"index": place, "token": token, "generated_text": text, "details": _details(usage) if last else None})
