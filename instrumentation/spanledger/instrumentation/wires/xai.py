"""xAI's own format: protobuf messages over gRPC, as its SDK wraps them."""

from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage

#: What the server reports as the price of a call, in US dollars.
TICK_USD = 1e-10


def sampling_usage(usage: Any) -> Usage:
    """Reasoning is counted beside the completion."""
    return Usage(
        input=usage.prompt_tokens,
        output=usage.completion_tokens + usage.reasoning_tokens,
        cache_read=usage.cached_prompt_text_tokens,
        reasoning=usage.reasoning_tokens,
        input_image=usage.prompt_image_tokens,
    )


def read_message(message: Any, answer: Answer) -> None:
    """A whole answer, or a chunk of one: usage is cumulative, each choice ends with its own reason."""
    if answer.id is None:
        answer.id, answer.model = message.id or None, message.model or None
    if message.HasField("usage"):
        usage = message.usage
        answer.usage = sampling_usage(usage)
        if usage.num_sources_used:
            answer.meter("searches", usage.num_sources_used)
        ticks = getattr(usage, "cost_in_usd_ticks", 0)
        if ticks:
            answer.say("gen_ai.usage.cost", ticks * TICK_USD)
    for output in message.outputs:
        if answer.heard is not None:
            said = output.message if message.DESCRIPTOR.name == "GetChatCompletionResponse" else output.delta
            answer.hear(said.content, output.index)
        if output.finish_reason:
            kind = output.DESCRIPTOR.fields_by_name["finish_reason"].enum_type
            answer.finish(kind.values_by_number[output.finish_reason].name, output.index)
            answer.finished = True


def read_answer(answered: Any, answer: Answer) -> None:
    """What the SDK's methods return: an answer, several of one request, or an answer and what was parsed from it."""
    first = answered[0] if isinstance(answered, tuple | list) else answered
    read_message(getattr(first, "proto", first), answer)
    answer.finished = True


def read_chunk(event: Any, answer: Answer) -> None:
    """What a stream gives: the answer so far and the chunk that was added, or several of each."""
    chunks = event[1]
    read_message((chunks[0] if isinstance(chunks, list) else chunks).proto, answer)
