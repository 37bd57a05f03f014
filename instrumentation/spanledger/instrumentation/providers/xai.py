"""xAI, through its own SDK over gRPC: answers, streams, parsed, deferred and several at once."""

import copy
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.provider import Ask, Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.wires.xai import read_answer, read_chunk

_CHAT = Operation(name="chat", read=read_answer, read_event=read_chunk, counts_tokens=True)

_PARAMETERS = (
    ("temperature", "gen_ai.request.temperature"),
    ("top_p", "gen_ai.request.top_p"),
    ("seed", "gen_ai.request.seed"),
    ("frequency_penalty", "gen_ai.request.frequency_penalty"),
    ("presence_penalty", "gen_ai.request.presence_penalty"),
)


def _asking(streamed: bool) -> Ask:
    def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
        request = client.proto
        attributes: dict[str, Any] = {}
        for name, attribute in _PARAMETERS:
            if request.HasField(name):
                attributes[attribute] = getattr(request, name)
        several = args[0] if args else kwargs.get("n")
        if type(several) is int and several != 1:
            attributes["gen_ai.request.choice.count"] = several
        body = {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": part.text} for part in message.content if part.text]}
                for message in request.messages
            ]
        }
        asked = Asked(
            operation=_CHAT,
            provider="x_ai",
            model=request.model or None,
            body=body if settings.guard or settings.captures else {},
            streamed=streamed,
            max_output_tokens=request.max_tokens if request.HasField("max_tokens") else None,
            attributes=attributes,
        )

        def swap(other: str) -> None:
            changed = copy.copy(client)
            changed._proto = type(request)()
            changed._proto.CopyFrom(request)
            changed._proto.model = other
            asked.sent = changed, args, kwargs

        asked.swap = swap
        return asked

    return ask


_whole, _streamed = _asking(False), _asking(True)


def _layers(module: str, style: Any, stream_style: Any) -> tuple[RequestLayer, ...]:
    # The stubs are made with each client's channel; these methods are the lowest that belong to a class. None of them
    # calls another.
    return (
        *(
            RequestLayer(module=module, owner="Chat", method=method, style=style, ask=_whole)
            for method in ("sample", "sample_batch", "parse", "_defer")
        ),
        *(
            RequestLayer(module=module, owner="Chat", method=method, style=stream_style, ask=_streamed)
            for method in ("stream", "stream_batch")
        ),
    )


PROVIDER = Provider(
    name="xai",
    client="xai-sdk",
    layers=(
        *_layers("xai_sdk.sync.chat", "sync", "generator"),
        *_layers("xai_sdk.aio.chat", "async", "async_generator"),
    ),
    ask=_whole,
    # The SDK emits spans of its own, with attributes that are not the conventions'.
    silence=(
        RequestLayer(module="xai_sdk.sync.chat", owner="", method="tracer", style="tracer"),
        RequestLayer(module="xai_sdk.aio.chat", owner="", method="tracer", style="tracer"),
    ),
    tested=("1.4.0", "1.21.0"),
)
