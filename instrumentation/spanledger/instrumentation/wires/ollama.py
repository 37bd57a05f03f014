"""Ollama's format: its answers, and each event of its streams, are of one shape."""

from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, count, field


def read(answered: Any, answer: Answer) -> None:
    read_event(answered, answer)
    answer.finished = True


def read_event(event: Any, answer: Answer) -> None:
    """Counts are on the last one; a prompt that was kept from the turn before may be left out of them."""
    if answer.model is None:
        answer.model = field(event, "model")
    text = field(event, "response") or field(field(event, "message") or {}, "content")
    if not field(event, "done"):
        # A piece is a token.
        answer.hear(text or "")
        return
    if text and answer.heard is not None:
        answer.hear(text)
    prompt, made = count(event, "prompt_eval_count"), count(event, "eval_count")
    if prompt is not None or made is not None:
        answer.usage = Usage(input=prompt, output=made)
    reason = field(event, "done_reason")
    if reason:
        answer.finish(reason)
    answer.finished = True


def read_embeddings(answered: Any, answer: Answer) -> None:
    answer.model = field(answered, "model")
    prompt = count(answered, "prompt_eval_count")
    if prompt is not None:
        answer.usage = Usage(input=prompt, output=0)
    answer.finished = True
