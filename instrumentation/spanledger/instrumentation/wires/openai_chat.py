"""OpenAI's chat completions and completions, in every dialect of those who speak them."""

from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, field, view, whole


def chat_usage(usage: Any) -> Usage:
    """The usage of a chat completion, in every known dialect of it."""
    said = view(usage)
    prompt, completion = whole(said.get("prompt_tokens")), whole(said.get("completion_tokens"))
    used = Usage(input=prompt, output=completion)
    if (details := said.get("prompt_tokens_details")) is not None:
        inputs = view(details)
        # Most are zero or absent, which says the same.
        if cached := inputs.get("cached_tokens"):
            used.cache_read = whole(cached)
        if written := inputs.get("cache_write_tokens"):
            used.cache_write = whole(written)
        if audio := inputs.get("audio_tokens"):
            used.input_audio = whole(audio)
        if images := inputs.get("image_tokens"):
            used.input_image = whole(images)
    if (details := said.get("completion_tokens_details")) is not None:
        outputs = view(details)
        if audio := outputs.get("audio_tokens"):
            used.output_audio = whole(audio)
        if (thought := outputs.get("reasoning_tokens")) and (reasoning := whole(thought)):
            used.reasoning = reasoning
            if completion is not None and said.get("total_tokens") == (prompt or 0) + completion + reasoning:
                # xAI counts reasoning beside the completion, everyone else inside it; the total tells which.
                used.output = completion + reasoning
    if used.cache_read is None:
        # DeepSeek's and Moonshot's places for it.
        hit = said.get("prompt_cache_hit_tokens") or said.get("cached_tokens")
        used.cache_read = whole(hit) if hit else None
    return used


def read_chat(completion: Any, answer: Answer) -> None:
    said = view(completion)
    _head(said, answer)
    usage = said.get("usage")
    if usage is not None:
        _use(usage, answer)
    for choice in said.get("choices") or ():
        chosen = view(choice)
        if usage is None or answer.heard is not None:
            _hear(choice, answer)
        answer.finish(chosen.get("finish_reason"), chosen.get("index") or 0)
    request_id = said.get("_request_id")
    if request_id:
        answer.say("spanledger.request.id", request_id)
    answer.finished = True


def read_chat_event(chunk: Any, answer: Answer) -> None:
    # Nearly every chunk is a piece of text for one choice. This path is on the application's way: by the models' own
    # dictionaries it takes half of what attributes take, and a quarter of the whole of `_read_chunk`.
    if answer.heard is None and type(chunk) is not dict:
        said = chunk.__dict__
        try:
            (choice,) = said["choices"]
            chosen = choice.__dict__
            text = chosen["delta"].__dict__["content"]
            plain = text and chosen["finish_reason"] is None and said["usage"] is None
            if plain and chosen["index"] < answer.choices and answer.model is not None:
                answer.pieces += 1
                answer.characters += len(text)
                return
        except (AttributeError, KeyError, TypeError, ValueError):
            # Another kind of chunk: of completions, of a server with fewer fields.
            pass
    _read_chunk(chunk, answer)


def _read_chunk(chunk: Any, answer: Answer) -> None:
    said = view(chunk)
    # Azure's first chunk has no choices and an empty model.
    if answer.model is None:
        _head(said, answer)
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
            answer.hear(text, index)
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
        answer.hear(text, field(choice, "index") or 0)


def _head(said: Mapping[str, Any], answer: Answer) -> None:
    answer.id = said.get("id") or None
    answer.model = said.get("model") or None
    tier = said.get("service_tier")
    if tier:
        answer.say("openai.response.service_tier", tier)


def _use(usage: Any, answer: Answer) -> None:
    answer.usage = chat_usage(usage)
    told = view(usage)
    cost = told.get("cost")
    if cost is not None:
        # OpenRouter says what it charged, Perplexity also how that came about.
        cost = cost if type(cost) in (int, float) else view(cost).get("total_cost")
        if type(cost) in (int, float):
            answer.say("gen_ai.usage.cost", cost)
    # Perplexity's searches, xAI's sources: each is charged.
    searches = told.get("num_search_queries") or told.get("num_sources_used")
    if type(searches) is int:
        answer.meter("searches", searches)
