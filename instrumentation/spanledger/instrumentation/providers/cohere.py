"""Cohere, both versions of its API: chat, generation, embeddings, reranking, classification."""

from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation import results
from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.hosts import address_of, provider_of
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import sampling
from spanledger.instrumentation.wires.cohere import (
    read_document,
    read_numbers,
    read_v1,
    read_v1_event,
    read_v2,
    read_v2_event,
)

OPERATIONS: Mapping[str, Operation] = {
    "v2/chat": Operation(name="chat", read=read_v2, read_event=read_v2_event, counts_tokens=True),
    "v1/chat": Operation(name="chat", read=read_v1, read_event=read_v1_event, counts_tokens=True),
    "v1/generate": Operation(name="text_completion", read=read_v1, read_event=read_v1_event, counts_tokens=True),
    "v2/embed": Operation(name="embeddings", read=read_document, counts_tokens=True),
    "v1/embed": Operation(name="embeddings", read=read_document, counts_tokens=True),
    "v2/rerank": Operation(name="rerank", read=read_document),
    "v1/rerank": Operation(name="rerank", read=read_document),
    "v1/classify": Operation(name="classification", read=read_document),
    "v1/summarize": Operation(name="text_completion", read=read_document, counts_tokens=True),
}


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    path = args[0] if args else kwargs.get("path")
    # The client asks itself again for each retry.
    if not isinstance(path, str) or kwargs.get("retries"):
        return None
    base = client.get_base_url(kwargs.get("base_url"))
    operation = OPERATIONS.get("/".join(f"{base.rstrip('/')}/{path}".rsplit("/", 2)[-2:]))
    if operation is None:
        return None
    body = kwargs.get("json")
    body = body if isinstance(body, Mapping) else {}
    attributes: dict[str, Any] = {}
    sampling(body, attributes)
    model, limit = body.get("model"), body.get("max_tokens")
    address, port = address_of(base)
    asked = Asked(
        operation=operation,
        provider=provider_of(address, port, "cohere", settings.hosts),
        model=model if isinstance(model, str) else None,
        address=address,
        port=port,
        body=body,
        streamed=body.get("stream") is True,
        max_output_tokens=limit if type(limit) is int else None,
        attributes=attributes,
    )

    def swap(other: str) -> None:
        asked.sent = client, args, {**kwargs, "json": {**body, "model": other}}

    asked.swap = swap
    return asked


def watch(call: Call, response: Any) -> None:
    if call.asked.operation.read is read_document and response.status_code < 400:
        read_numbers(response.content, call.answer)
        call.end()
    else:
        results.watch_response(call, response)


_MODULE = "cohere.core.http_client"

PROVIDER = Provider(
    name="cohere",
    client="cohere",
    layers=(
        RequestLayer(module=_MODULE, owner="HttpClient", method="request", style="sync"),
        RequestLayer(module=_MODULE, owner="HttpClient", method="stream", style="context"),
        RequestLayer(module=_MODULE, owner="AsyncHttpClient", method="request", style="async"),
        RequestLayer(module=_MODULE, owner="AsyncHttpClient", method="stream", style="async_context"),
    ),
    ask=ask,
    tested=("5.13.0", "7.3.1"),
    watch=watch,
)
