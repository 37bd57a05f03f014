"""Cohere's formats, v1 and v2: chat, generation, embeddings, reranking. What is billed counts, not what was consumed."""

import json
from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, count, field


def billed(units: Any, cached: int | None = None) -> Usage | None:
    """None where tokens are not what is billed."""
    read, made = _whole(units, "input_tokens"), _whole(units, "output_tokens")
    if read is None and made is None:
        return None
    return Usage(input=read, output=made or 0, cache_read=cached)


def _whole(units: Any, name: str) -> int | None:
    # These are floats on the wire.
    value = field(units, name)
    return int(value) if isinstance(value, int | float) else None


def _use(meter: Any, answer: Answer) -> None:
    units = field(meter, "billed_units")
    if units is None:
        return
    answer.usage = billed(units, _whole(meter, "cached_tokens"))
    for name, column in (("search_units", "searches"), ("images", "images"), ("classifications", "requests")):
        number = _whole(units, name)
        if number and not (name == "images" and answer.usage is not None):
            answer.meter(column, number)


def read_v2(answered: Any, answer: Answer) -> None:
    answer.id = field(answered, "id")
    if answer.heard is not None:
        for part in field(field(answered, "message") or {}, "content") or ():
            answer.hear(field(part, "text") or "")
    usage = field(answered, "usage") or field(answered, "meta")
    if usage is not None:
        _use(usage, answer)
    reason = field(answered, "finish_reason")
    if reason:
        answer.finish(reason)
    answer.finished = True


def _text(event: Any) -> str:
    said = field(field(event, "delta") or {}, "message") or {}
    return field(field(said, "content") or {}, "text") or ""


def read_v2_event(event: Any, answer: Answer) -> None:
    kind = field(event, "type")
    if kind == "content-delta":
        answer.hear(_text(event))
    elif kind == "message-start":
        answer.id = field(event, "id")
    elif kind == "message-end":
        delta = field(event, "delta") or {}
        if (usage := field(delta, "usage")) is not None:
            _use(usage, answer)
        reason = field(delta, "finish_reason")
        if reason:
            answer.finish(reason)
        if reason == "ERROR":
            answer.error = "error"
        answer.finished = True


def read_v1(answered: Any, answer: Answer) -> None:
    if answer.heard == {}:
        for said in (answered, *(field(answered, "generations") or ())):
            if isinstance(text := field(said, "text"), str):
                answer.hear(text)
    answer.id = field(answered, "response_id") or field(answered, "generation_id") or field(answered, "id")
    meta = field(answered, "meta")
    if meta is not None:
        _use(meta, answer)
    reason = field(answered, "finish_reason")
    if reason:
        answer.finish(reason)
    answer.finished = True


def read_v1_event(event: Any, answer: Answer) -> None:
    kind = field(event, "event_type")
    if kind == "text-generation":
        answer.hear(field(event, "text") or "")
    elif kind == "stream-start":
        answer.id = field(event, "generation_id")
    elif kind == "stream-end" or field(event, "is_finished"):
        response = field(event, "response")
        if response is not None:
            read_v1(response, answer)
        reason = field(event, "finish_reason")
        if reason:
            answer.finish(reason)
        if reason in ("ERROR", "ERROR_TOXIC", "ERROR_LIMIT"):
            answer.error = str(reason)
        answer.finished = True


def read_numbers(content: bytes, answer: Answer) -> None:
    """Embeddings and ranks, from the bytes: their meters stand in a small object among megabytes of numbers."""
    answer.finished = True
    at = content.rfind(b'"billed_units"')
    brace = content.find(b"{", at)
    if at < 0 or brace < 0:
        return
    try:
        units, _ = json.JSONDecoder().raw_decode(content[brace:].decode())
    except ValueError:
        return
    _use({"billed_units": units}, answer)


def read_document(answered: Any, answer: Answer) -> None:
    """The same from the whole answer."""
    answer.id = field(answered, "id")
    meta = field(answered, "meta")
    if meta is not None and count(meta, "billed_units") is None:
        _use(meta, answer)
    answer.finished = True
