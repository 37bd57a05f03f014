"""OpenAI's chat completions and completions, in every dialect of those who speak them."""

from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, count, field, view


def chat_usage(usage: Any) -> Usage:
    """The usage of a chat completion, in every known dialect of it."""
    details = field(usage, "prompt_tokens_details")
    output_details = field(usage, "completion_tokens_details")
    prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    reasoning = None if output_details is None else count(output_details, "reasoning_tokens")
    if reasoning and completion is not None and count(usage, "total_tokens") == (prompt or 0) + completion + reasoning:
        # xAI counts reasoning beside the completion, everyone else inside it; the total tells which.
        completion += reasoning
    cached = None if details is None else count(details, "cached_tokens")
    if cached is None:
        # DeepSeek's and Moonshot's places for it.
        cached = count(usage, "prompt_cache_hit_tokens")
        cached = count(usage, "cached_tokens") if cached is None else cached
    if details is None and output_details is None:
        return Usage(input=prompt, output=completion, cache_read=cached)
    return Usage(
        input=prompt,
        output=completion,
        cache_read=cached,
        cache_write=count(details, "cache_write_tokens"),
        reasoning=reasoning,
        input_audio=count(details, "audio_tokens"),
        output_audio=count(output_details, "audio_tokens"),
        input_image=count(details, "image_tokens"),
    )


def read_chat(completion: Any, answer: Answer) -> None:
    _head(completion, answer)
    usage = field(completion, "usage")
    if usage is not None:
        _use(usage, answer)
    for choice in field(completion, "choices") or ():
        if usage is None:
            _hear(choice, answer)
        answer.finish(field(choice, "finish_reason"), field(choice, "index") or 0)
    request_id = field(completion, "_request_id")
    if request_id:
        answer.say("spanledger.request.id", request_id)
    answer.finished = True


def read_chat_event(chunk: Any, answer: Answer) -> None:
    said = view(chunk)
    # Azure's first chunk has no choices and an empty model.
    if answer.model is None:
        _head(chunk, answer)
    usage = said.get("usage")
    if usage is None and (groq := said.get("x_groq")) is not None:
        usage = field(groq, "usage")
    for choice in said.get("choices") or ():
        chosen = view(choice)
        index = chosen.get("index") or 0
        if index >= answer.choices:
            answer.choices = index + 1
        delta = chosen.get("delta")
        text = chosen.get("text") if delta is None else view(delta).get("content")
        if text:
            answer.pieces += 1
            answer.characters += len(text)
        reason = chosen.get("finish_reason")
        if reason:
            answer.finish(reason, index)
            answer.finished = len(answer.finish_reasons or ()) >= answer.choices
            # Moonshot puts the usage into the last choice.
            usage = usage or chosen.get("usage")
    if usage is not None:
        _use(usage, answer)
    if type(chunk) is dict and (error := chunk.get("error")):
        answer.error = str(field(error, "code") or field(error, "type") or "error")


def _hear(choice: Any, answer: Answer) -> None:
    """How much was said, for a server that does not count."""
    message = field(choice, "message")
    text = field(choice, "text") if message is None else field(message, "content")
    if isinstance(text, str):
        answer.characters += len(text)


def _head(of: Any, answer: Answer) -> None:
    answer.id = field(of, "id") or None
    answer.model = field(of, "model") or None
    tier = field(of, "service_tier")
    if tier:
        answer.say("openai.response.service_tier", tier)


def _use(usage: Any, answer: Answer) -> None:
    answer.usage = chat_usage(usage)
    cost = field(usage, "cost")
    if type(cost) in (int, float):
        # OpenRouter says what it charged.
        answer.say("gen_ai.usage.cost", cost)
