"""Azure AI Inference: chat completions, embeddings of text and of images."""

from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.bodies import EventReader
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.hosts import address_of, provider_of
from spanledger.instrumentation.provider import Ask, Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import sampling
from spanledger.instrumentation.watching import AsyncPieces, Closable, Pieces
from spanledger.instrumentation.wires.openai_chat import read_chat, read_chat_event
from spanledger.instrumentation.wires.openai_media import read_embeddings

_CHAT = Operation(name="chat", read=read_chat, read_event=read_chat_event, counts_tokens=True)
_EMBEDDINGS = Operation(name="embeddings", read=read_embeddings, counts_tokens=True)


def _asking(operation: Operation) -> Ask:
    def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
        body = args[0] if args else kwargs.get("body", kwargs)
        body = body if isinstance(body, Mapping) else {}
        attributes: dict[str, Any] = {}
        sampling(body, attributes)
        # A client may have been made with a model and a limit for all its calls.
        model = body.get("model") or getattr(client, "_model", None)
        limit = body.get("max_tokens") or getattr(client, "_max_tokens", None)
        address, port = address_of("/".join(client._config.endpoint.split("/", 3)[:3]))
        asked = Asked(
            operation=operation,
            provider=provider_of(address, port, "azure.ai.inference", settings.hosts),
            model=model if isinstance(model, str) else None,
            address=address,
            port=port,
            body=body,
            streamed=bool(body.get("stream") or kwargs.get("stream")),
            max_output_tokens=limit if type(limit) is int else None,
            attributes=attributes,
        )

        def swap(other: str) -> None:
            if args or "body" in kwargs:
                changed = {**body, "model": other}
                asked.sent = (client, (changed, *args[1:]), kwargs) if args else (client, args, {**kwargs, "body": changed})
            else:
                asked.sent = client, args, {**kwargs, "model": other}

        asked.swap = swap
        return asked

    return ask


_chat, _embeddings = _asking(_CHAT), _asking(_EMBEDDINGS)


def watch(call: Call, result: Any) -> None:
    inner = getattr(result, "_bytes_iterator", None)
    if inner is None:
        # Its objects have no fields that can be looked at, only properties; to copy vectors out would cost too much.
        operation = call.asked.operation
        operation.read(result.as_dict() if operation is _CHAT else result, call.answer)
        call.end()
        return
    feed = EventReader(call.asked.operation, call.answer)
    result._bytes_iterator = (AsyncPieces if hasattr(inner, "__anext__") else Pieces)(inner, call, feed)
    result._response = Closable(result._response, call)


def _layers(module: str, style: Any) -> tuple[RequestLayer, ...]:
    # `complete` and `embed` make their request themselves, through a pipeline that all of Azure's clients share.
    return (
        RequestLayer(module=module, owner="ChatCompletionsClient", method="complete", style=style, ask=_chat),
        RequestLayer(module=module, owner="EmbeddingsClient", method="embed", style=style, ask=_embeddings),
        RequestLayer(module=module, owner="ImageEmbeddingsClient", method="embed", style=style, ask=_embeddings),
    )


PROVIDER = Provider(
    name="azure_inference",
    client="azure-ai-inference",
    layers=(*_layers("azure.ai.inference._patch", "sync"), *_layers("azure.ai.inference.aio._patch", "async")),
    ask=_chat,
    tested=("1.0.0b9", "1.0.0b9"),
    watch=watch,
)
