"""Anthropic: messages, on its own API and on the clouds that its SDK has clients for."""

from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Answer, Asked, Operation
from spanledger.instrumentation.harvest import Harvest
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import asking, layers, sampling
from spanledger.instrumentation.usage import Usage, count, field, view


def _usage(usage: Any, before: Usage | None = None) -> Usage:
    """`before` is what the start of a stream said: its end repeats only what has changed."""
    fresh = count(usage, "input_tokens")
    read = count(usage, "cache_read_input_tokens")
    write = count(usage, "cache_creation_input_tokens")
    split = field(usage, "cache_creation")
    output = count(usage, "output_tokens")
    details = field(usage, "output_tokens_details")
    thinking = None if details is None else count(details, "thinking_tokens")
    before = before or _NOTHING
    read = before.cache_read if read is None else read
    write = before.cache_write if write is None else write
    # `input_tokens` here leaves the cache out, unlike OpenAI's `prompt_tokens`.
    total = before.input if fresh is None else fresh + (read or 0) + (write or 0)
    return Usage(
        input=total,
        output=before.output if output is None else output,
        cache_read=read,
        cache_write=write,
        cache_write_5m=before.cache_write_5m if split is None else count(split, "ephemeral_5m_input_tokens"),
        cache_write_1h=before.cache_write_1h if split is None else count(split, "ephemeral_1h_input_tokens"),
        reasoning=before.reasoning if thinking is None else thinking,
    )


_NOTHING = Usage()


def _beside(iterations: Any) -> list[tuple[str | None, Usage]]:
    """What the numbers at the top leave out: a compaction by the same model, an advisor by another. Charged as well."""
    found: list[tuple[str | None, Usage]] = []
    for one in iterations:
        kind = field(one, "type")
        if kind == "compaction":
            found.append((None, _usage(one)))
        elif kind == "advisor_message" and isinstance(model := field(one, "model"), str):
            found.append((model, _usage(one)))
    return found


def _use(usage: Any, answer: Answer) -> None:
    answer.usage = _usage(usage, answer.usage)
    # A stream says it again and whole with each of its ends.
    if isinstance(iterations := field(usage, "iterations"), list):
        answer.beside = _beside(iterations)
    tier = field(usage, "service_tier")
    if tier:
        answer.say("anthropic.response.service_tier", tier)
    searches = field(usage, "server_tool_use")
    if searches is not None:
        for name in ("web_search_requests", "web_fetch_requests"):
            number = count(searches, name)
            if number:
                answer.say(f"anthropic.usage.server_tool_use.{name}", number)
    for name in ("inference_geo", "speed"):
        value = field(usage, name)
        if isinstance(value, str) and value:
            answer.say(f"anthropic.response.{name}", value)


def _head(message: Any, answer: Answer) -> None:
    answer.id = field(message, "id")
    answer.model = field(message, "model")
    usage = field(message, "usage")
    if usage is not None:
        _use(usage, answer)


def read_message(message: Any, answer: Answer) -> None:
    _head(message, answer)
    if answer.heard is not None or answer.usage is None:
        for block in field(message, "content") or ():
            if isinstance(text := field(block, "text"), str):
                answer.hear(text)
    reason = field(message, "stop_reason")
    if reason:
        answer.finish(reason)
    request_id = field(message, "_request_id")
    if request_id:
        answer.say("anthropic.request.id", request_id)
    answer.finished = True


def read_event(event: Any, answer: Answer) -> None:
    said = view(event)
    if "chunk" in said:
        # Bedrock's own framing, where the application reads the bytes.
        answer.pieces += 1
        if said["chunk"] is not None:
            read_event(said["chunk"], answer)
        return
    kind = said.get("type")
    if kind == "content_block_delta":
        delta = view(said.get("delta"))
        if text := delta.get("text"):
            answer.hear(text)
        elif text := delta.get("thinking") or delta.get("partial_json"):
            answer.pieces += 1
            answer.characters += len(text)
        return
    if kind == "message_start":
        _head(field(event, "message"), answer)
    elif kind == "message_delta":
        usage = field(event, "usage")
        if usage is not None:
            _use(usage, answer)
        reason = field(field(event, "delta"), "stop_reason")
        if reason:
            answer.finish(reason)
            # The usage is told by now; what follows says nothing, and some read no further.
            answer.finished = True
    elif kind == "message_stop":
        answer.finished = True
    elif kind is None and isinstance(said.get("error"), str):
        answer.error = said["error"]
    elif kind == "error":
        answer.error = str(field(field(event, "error"), "type") or "error")


OPERATIONS: Mapping[str, Operation] = {
    "/v1/messages": Operation(name="chat", read=read_message, read_event=read_event, counts_tokens=True),
}


def _extra(body: Mapping[str, Any], attributes: dict[str, Any]) -> None:
    sampling(body, attributes)
    tier = body.get("service_tier")
    if isinstance(tier, str):
        attributes["anthropic.request.service_tier"] = tier
    config = body.get("output_config")
    effort = config.get("effort") if isinstance(config, Mapping) else None
    if isinstance(effort, str):
        attributes["gen_ai.request.reasoning.level"] = effort


#: Who is paid, by a word in the client's class; newer ones say it themselves, but for Foundry's.
_CLOUDS = (("Bedrock", "aws.bedrock"), ("Vertex", "gcp.vertex_ai"), ("Foundry", "azure.ai.inference"))


#: Whom a class of clients pays.
_paid: dict[type, str] = {}


def _default(client: Any) -> str:
    kind = type(client)
    if (known := _paid.get(kind)) is None:
        names = " ".join(one.__name__ for one in kind.__mro__)
        said = getattr(kind, "_gen_ai_provider_name", "anthropic")
        known = _paid[kind] = next((provider for word, provider in _CLOUDS if word in names), said)
    return known


def _read_result(line: Any, answer: Answer) -> None:
    read_message(field(field(line, "result"), "message"), answer)
    answer.say("spanledger.batch", True)


def _succeeded(line: Any) -> str | None:
    result = field(line, "result")
    return str(field(field(result, "message"), "id")) if field(result, "type") == "succeeded" else None


_RESULTS = Harvest(operation=Operation(name="chat", read=_read_result), told=_succeeded, each=True)


def _fetched(path: str) -> Harvest | None:
    return _RESULTS if path.endswith("/results") and "/batches/" in path else None


_ask = asking(OPERATIONS, _default, _extra, fetched=_fetched)


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    asked = _ask(client, args, kwargs, settings)
    if asked is not None:
        # A tracer provider of the client's own: what it emits goes where the application wants it, beside ours.
        asked.emits_own = bool((getattr(client, "_open_telemetry", None) or {}).get("tracer_provider"))
    return asked


PROVIDER = Provider(
    name="anthropic",
    client="anthropic",
    layers=layers("anthropic._base_client"),
    ask=ask,
    # The SDK emits a span of its own around the same request.
    silence=(RequestLayer(module="anthropic._base_client", owner="", method="start_api_call_span", style="sync"),),
    tested=("0.45.0", "2.14.0"),
)
