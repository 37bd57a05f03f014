"""Voyage AI's wire format, under `/voyage/…`: embeddings and ranks."""

from collections.abc import Iterator
from typing import Any

from spanledger.cli.provider_stand_in.usage import usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_json, failing_status


def answer(request: Request) -> Answer | None:
    kind = request.path.rpartition("/")[2]
    if request.method != "POST" or not request.path.startswith("/voyage/"):
        return None
    if status := failing_status(request.model):
        return answer_json({"detail": f"The stand-in was asked to fail with {status}."}, status)
    tokens = usage_of({"prompt": " ".join(_words_in(request.body))}).input
    used: dict[str, Any] = {"total_tokens": tokens}
    head = {"object": "list", "model": request.model}
    if kind == "rerank":
        ranks = [{"index": place, "relevance_score": 0.5} for place in range(len(request.body["documents"]))]
        return answer_json({**head, "data": ranks, "usage": used})
    given = request.body.get("input") or request.body.get("inputs") or []
    count = len(given) if isinstance(given, list) else 1
    vectors: list[Any] = [{"object": "embedding", "embedding": [0.5, 0.25], "index": place} for place in range(count)]
    if kind == "contextualizedembeddings":
        vectors = [{"object": "list", "data": [vectors[0]], "index": place} for place in range(count)]
    if kind == "multimodalembeddings":
        used |= {"text_tokens": tokens, "image_pixels": 0}
    return answer_json({**head, "data": vectors, "usage": used})


def _words_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _words_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words_in(inner)
