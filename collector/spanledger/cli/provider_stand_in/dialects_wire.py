"""OpenAI's chat format as others speak it: under a prefix of the path (`/groq/…`), each with its oddities of usage."""

from collections.abc import Callable, Iterator
from typing import Any

from spanledger.cli.provider_stand_in.openai_wire import error, said
from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import Answer, Request, answer_events, answer_json, event, failing_status, words

Counted = Callable[[StandInUsage], dict[str, Any]]


def _plain(usage: StandInUsage) -> dict[str, Any]:
    return {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output}


def _detailed(usage: StandInUsage) -> dict[str, Any]:
    return {
        **_plain(usage),
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _groq(usage: StandInUsage) -> dict[str, Any]:
    return {**_detailed(usage), "queue_time": 0.01, "prompt_time": 0.002, "completion_time": 0.03, "total_time": 0.042}


def _deepseek(usage: StandInUsage) -> dict[str, Any]:
    hit = {"prompt_cache_hit_tokens": usage.cache_read, "prompt_cache_miss_tokens": usage.input - usage.cache_read}
    return {**_plain(usage), **hit, "completion_tokens_details": {"reasoning_tokens": usage.reasoning}}


def _moonshot(usage: StandInUsage) -> dict[str, Any]:
    return {**_plain(usage), "cached_tokens": usage.cache_read}


def _perplexity(usage: StandInUsage) -> dict[str, Any]:
    cost = {"input_tokens_cost": 0.001, "output_tokens_cost": 0.002, "request_cost": 0.005, "total_cost": 0.008}
    return {**_plain(usage), "search_context_size": "low", "num_search_queries": 3, "cost": cost}


def _xai(usage: StandInUsage) -> dict[str, Any]:
    """Reasoning stands beside the completion, and the total holds both."""
    return {**_detailed(usage), "completion_tokens": usage.output - usage.reasoning, "num_sources_used": 2}


def _openrouter(usage: StandInUsage) -> dict[str, Any]:
    return {**_detailed(usage), "cost": 0.00042, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}


#: Where the usage of a stream stands: in the choice that ends it, in every chunk, in the last chunk, or beside it.
DIALECTS: dict[str, tuple[Counted, str]] = {
    "groq": (_groq, "x_groq"),
    "together": (_detailed, "last"),
    "fireworks": (_detailed, "last"),
    "cerebras": (_detailed, "last"),
    "deepseek": (_deepseek, "last"),
    "moonshot": (_moonshot, "choice"),
    "perplexity": (_perplexity, "every"),
    "xai": (_xai, "last"),
    "openrouter": (_openrouter, "alone"),
}


def answer(request: Request) -> Answer | None:
    """Chat completions of the dialect that the path begins with."""
    name = request.path.split("/", 2)[1]
    if name not in DIALECTS or request.method != "POST" or not request.path.endswith("/chat/completions"):
        return None
    if status := failing_status(request.model):
        return answer_json(error(status), status)
    count, place = DIALECTS[name]
    usage = usage_of(request.body)
    head = {"id": f"chatcmpl-{request.number:08d}", "created": 1_790_000_000, "model": request.model}
    head |= {"service_tier": "on_demand"} if name == "groq" else {}
    if request.body.get("stream"):
        return answer_events(_chunks(request, head, usage, count, place), cut=request.model == "cut-stream")
    message = {"role": "assistant", "content": said(request.body, usage)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return answer_json({**head, "object": "chat.completion", "choices": [choice], "usage": count(usage)})


def _chunks(request: Request, head: dict[str, Any], usage: StandInUsage, count: Counted, place: str) -> Iterator[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **more.pop("choice", {})}
        return event({**head, "object": "chat.completion.chunk", "choices": [choice], **more})

    every: dict[str, Any] = {"usage": count(usage)} if place == "every" else {}
    first: dict[str, Any] = {"x_groq": {"id": "req_1"}} if place == "x_groq" else {}
    yield chunk({"role": "assistant", "content": ""}, **every, **first)
    for number, piece in enumerate(words(usage.output - usage.reasoning)):
        if number == 3 and request.model == "error-stream":
            yield event(error(500))
            return
        if number == 3 and request.model == "cut-stream":
            return
        yield chunk({"content": piece}, **every)
    last: dict[str, Any] = {"last": {"usage": count(usage)}, "every": every, "choice": {"choice": {"usage": count(usage)}}}.get(
        place, {"x_groq": {"id": "req_1", "usage": count(usage)}} if place == "x_groq" else {}
    )
    yield chunk({}, "stop", **last)
    if place == "alone":
        yield event({**head, "object": "chat.completion.chunk", "choices": [], "usage": count(usage)})
    yield b"data: [DONE]\n\n"
