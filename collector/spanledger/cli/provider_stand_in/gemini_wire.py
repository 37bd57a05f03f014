"""Google's wire format, on the Gemini API and on Vertex AI: content, plain and streamed, embeddings, images."""

from collections.abc import Iterator, Mapping
from typing import Any

from spanledger.cli.provider_stand_in.usage import StandInUsage, texts, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words

_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


def answer(request: Request) -> Answer | None:
    """`…/models/<model>:<method>` under any prefix."""
    path, colon, method = request.path.rpartition(":")
    if request.method != "POST" or not colon or "/models/" not in path:
        return None
    model = path.rpartition("/")[2]
    if status := failing_status(model):
        return answer_json(error(status), status)
    usage = usage_of(request.body)
    if method in ("embedContent", "batchEmbedContents"):
        usage = usage_of({"prompt": " ".join(_words_in(request.body))})
        return _embedded(request, usage)
    if method == "predict":
        return _predicted(request, model)
    if method == "generateContent":
        return answer_json(_content(request, model, usage, _calls(request.body)))
    if method == "streamGenerateContent":
        return answer_events(_chunks(request, model, usage), cut=model == "cut-stream")
    if method == "countTokens":
        return answer_json({"totalTokens": usage.input})
    return None


def error(status: int) -> dict[str, Any]:
    said = f"The stand-in was asked to fail with {status}."
    return {"error": {"code": status, "message": said, "status": _STATUSES.get(status, "INTERNAL")}}


def content_usage(usage: StandInUsage, *, final: bool = True) -> dict[str, Any]:
    """Thoughts stand beside the candidates."""
    answered = usage.output - usage.reasoning
    counts: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": answered if final else 1,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input - usage.audio - usage.images}],
    }
    for modality, number in (("AUDIO", usage.audio), ("IMAGE", usage.images)):
        if number:
            counts["promptTokensDetails"].append({"modality": modality, "tokenCount": number})
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        counts["thoughtsTokenCount"] = usage.reasoning
    return counts


def _head(request: Request, model: str) -> dict[str, Any]:
    return {"modelVersion": f"{model}-001", "responseId": f"resp-{request.number:08d}"}


def _calls(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One call of the first function that is offered, until its answer is there."""
    for tool in body.get("tools") or ():
        for function in tool.get("functionDeclarations") or ():
            answered = any("functionResponse" in part for c in body.get("contents") or () for part in c.get("parts") or ())
            return [] if answered else [{"functionCall": {"name": function["name"], "args": {}}}]
    return []


def _content(request: Request, model: str, usage: StandInUsage, calls: list[dict[str, Any]]) -> dict[str, Any]:
    parts = calls or [{"text": "".join(words(usage.output - usage.reasoning))}]
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}
    return {**_head(request, model), "candidates": [candidate], "usageMetadata": content_usage(usage)}


def _chunks(request: Request, model: str, usage: StandInUsage) -> Iterator[bytes]:
    head = _head(request, model)
    pieces = words(usage.output - usage.reasoning)
    for place, piece in enumerate(pieces):
        if place == 3 and model == "error-stream":
            yield event(error(500))
            return
        if place == 3 and model == "cut-stream":
            return
        last = place == len(pieces) - 1
        candidate: dict[str, Any] = {"content": {"parts": [{"text": piece}], "role": "model"}, "index": 0}
        if last:
            candidate["finishReason"] = "STOP"
        yield event({"candidates": [candidate], "usageMetadata": content_usage(usage, final=last), **head})


def _words_in(body: Mapping[str, Any]) -> Iterator[str]:
    for part in body.get("requests") or [body]:
        yield from texts(part.get("content"))


def _embedded(request: Request, usage: StandInUsage) -> Answer:
    used = {"usageMetadata": {"promptTokenCount": usage.input}}
    if "requests" in request.body:
        return answer_json({"embeddings": [{"values": [0.5, 0.25]} for _ in request.body["requests"]], **used})
    return answer_json({"embedding": {"values": [0.5, 0.25]}, **used})


def _predicted(request: Request, model: str) -> Answer:
    instances = request.body.get("instances") or []
    if "embedding" in model:
        statistics = [usage_of({"prompt": str(instance.get("content"))}).input for instance in instances]
        return answer_json(
            {
                "predictions": [
                    {"embeddings": {"values": [0.5, 0.25], "statistics": {"truncated": False, "token_count": float(number)}}}
                    for number in statistics
                ]
            }
        )
    count = (request.body.get("parameters") or {}).get("sampleCount", 1)
    return answer_json({"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "aGk="} for _ in range(count)]})
