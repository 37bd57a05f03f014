"""OpenAI's Responses: responses, compactions and decisions, plain and as events."""

from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, count, field, view


def responses_usage(usage: Any) -> Usage:
    """Also the usage of decisions, batches and realtime responses, which have the same names."""
    details = field(usage, "input_tokens_details") or field(usage, "input_token_details")
    output_details = field(usage, "output_tokens_details") or field(usage, "output_token_details")
    return Usage(
        input=count(usage, "input_tokens"),
        output=count(usage, "output_tokens"),
        cache_read=None if details is None else count(details, "cached_tokens"),
        cache_write=None if details is None else count(details, "cache_write_tokens"),
        reasoning=None if output_details is None else count(output_details, "reasoning_tokens"),
        input_audio=None if details is None else count(details, "audio_tokens"),
        output_audio=None if output_details is None else count(output_details, "audio_tokens"),
        input_image=None if details is None else count(details, "image_tokens"),
        output_image=None if output_details is None else count(output_details, "image_tokens"),
    )


def read_response(response: Any, answer: Answer) -> None:
    _begun(response, answer)
    if answer.heard is not None or field(response, "usage") is None:
        for item in field(response, "output") or ():
            for part in field(item, "content") or ():
                if isinstance(text := field(part, "text"), str):
                    answer.hear(text)
    _ended(response, answer)
    request_id = field(response, "_request_id")
    if request_id:
        answer.say("spanledger.request.id", request_id)
    answer.finished = True


def read_batch(batch: Any, answer: Answer) -> None:
    """All of a batch at once: the provider tells its requests apart only in a file."""
    answer.id = field(batch, "id")
    answer.model = field(batch, "model")
    answer.usage = responses_usage(field(batch, "usage"))
    answer.say("spanledger.batch", True)
    answer.say("openai.response.service_tier", "batch")
    counts = field(batch, "request_counts")
    completed = None if counts is None else count(counts, "completed")
    if completed is not None:
        answer.say("spanledger.batch.calls", completed)


def read_response_event(event: Any, answer: Answer) -> None:
    said = view(event)
    kind = said.get("type")
    if answer.id is None and kind in ("response.created", "response.queued", "response.in_progress"):
        _begun(said["response"], answer)
    elif kind == "response.output_text.delta":
        answer.hear(said["delta"])
    elif isinstance(text := said.get("delta"), str):
        answer.pieces += 1
        answer.characters += len(text)
    elif kind in ("response.completed", "response.incomplete", "response.failed", "response.cancelled"):
        # None of them is raised by the client: the span must say by itself that the response failed.
        response = said["response"]
        _begun(response, answer)
        _ended(response, answer)
        answer.finished = True
    elif kind == "error":
        answer.error = str(said.get("code") or "error")
        answer.finished = True


def _begun(response: Any, answer: Answer) -> None:
    answer.id = field(response, "id") or answer.id
    answer.model = field(response, "model") or answer.model


def _ended(response: Any, answer: Answer) -> None:
    usage = field(response, "usage")
    if usage is not None:
        answer.usage = responses_usage(usage)
        details = field(usage, "input_tokens_details")
        kept = None if details is None else field(details, "cache_write_tokens_details")
        if kept is not None:
            for name in ("ttl_30m_tokens", "ttl_12h_tokens"):
                if number := count(kept, name):
                    answer.say(f"openai.usage.cache_write.{name}", number)
        cost = field(usage, "cost")
        if type(cost) in (int, float):
            answer.say("gen_ai.usage.cost", cost)
    tier = field(response, "service_tier")
    if tier:
        answer.say("openai.response.service_tier", tier)
    status = field(response, "status")
    # Made in the background: what it uses is known when it is fetched, and is not to be guessed before.
    answer.pending = status in ("queued", "in_progress")
    searches = calls = 0
    for item in field(response, "output") or ():
        kind = field(item, "type")
        if kind in ("web_search_call", "file_search_call"):
            searches += 1
        elif kind == "function_call":
            calls += 1
    if searches:
        answer.meter("searches", searches)
    if status == "failed":
        error = field(response, "error")
        answer.error = str((error is not None and field(error, "code")) or "failed")
    elif status == "incomplete":
        details = field(response, "incomplete_details")
        answer.finish((details is not None and field(details, "reason")) or "incomplete")
    elif status == "completed":
        answer.finish("tool_calls" if calls else "stop")
