"""Ollama: chat, generation, embeddings."""

from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.hosts import provider_of
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import sampling
from spanledger.instrumentation.wires.ollama import read, read_embeddings, read_event

OPERATIONS: Mapping[str, Operation] = {
    "/api/chat": Operation(name="chat", read=read, read_event=read_event, counts_tokens=True),
    "/api/generate": Operation(name="text_completion", read=read, read_event=read_event, counts_tokens=True),
    "/api/embed": Operation(name="embeddings", read=read_embeddings, counts_tokens=True),
    "/api/embeddings": Operation(name="embeddings", read=read_embeddings, counts_tokens=True),
}


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    # (class of the answer, method, path)
    operation = OPERATIONS.get(args[-1])
    if operation is None:
        return None
    url = client._client.base_url
    body = kwargs.get("json")
    body = body if isinstance(body, Mapping) else {}
    options = body.get("options")
    attributes: dict[str, Any] = {}
    limit = None
    if isinstance(options, Mapping):
        sampling(options, attributes)
        limit = options.get("num_predict")
    model = body.get("model")
    streamed = bool(kwargs.get("stream"))
    asked = Asked(
        operation=operation,
        provider=provider_of(url.host, url.port, "ollama", settings.hosts),
        model=model if isinstance(model, str) else None,
        address=url.host,
        port=url.port or (443 if url.scheme == "https" else 80),
        body=body,
        streamed=streamed,
        # -1 is "without end", -2 "until the context is full".
        max_output_tokens=limit if type(limit) is int and limit > 0 else None,
        attributes=attributes,
        lazy=streamed,
    )

    def swap(other: str) -> None:
        asked.sent = client, args, {**kwargs, "json": {**body, "model": other}}

    asked.swap = swap
    return asked


PROVIDER = Provider(
    name="ollama",
    client="ollama",
    # Below `chat` and its kind: `from ollama import chat` binds a method before anyone can patch it.
    layers=(
        RequestLayer(module="ollama._client", owner="Client", method="_request", style="sync"),
        RequestLayer(module="ollama._client", owner="AsyncClient", method="_request", style="async"),
    ),
    ask=ask,
    tested=("0.4.4", "0.6.3"),
)
