"""Mistral: chat, agents, fill in the middle, conversations, embeddings, OCR; its own API, Azure and Google Cloud."""

import json
from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.hosts import provider_of
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import sampling
from spanledger.instrumentation.wires.mistral import (
    read_conversation,
    read_conversation_event,
    read_pages,
    read_transcription,
)
from spanledger.instrumentation.wires.openai_chat import read_chat, read_chat_event
from spanledger.instrumentation.wires.openai_media import read_embeddings

_CHAT = Operation(name="chat", read=read_chat, read_event=read_chat_event, counts_tokens=True)
_CONVERSATION = Operation(name="chat", read=read_conversation, read_event=read_conversation_event, counts_tokens=True)

OPERATIONS: Mapping[str, Operation] = {
    "/chat/completions": _CHAT,
    "/agents/completions": _CHAT,
    "/fim/completions": Operation(name="text_completion", read=read_chat, read_event=read_chat_event, counts_tokens=True),
    "/embeddings": Operation(name="embeddings", read=read_embeddings, counts_tokens=True),
    "/ocr": Operation(name="ocr", read=read_pages),
    "/audio/transcriptions": Operation(name="transcription", read=read_transcription),
}


def operation_of(path: str) -> Operation | None:
    for ending, operation in OPERATIONS.items():
        if path.endswith(ending):
            return operation
    # Google Cloud names the model, not the operation, which a hook of the client puts in on the way.
    if path.endswith(("rawPredict", "streamRawPredict")):
        return _CHAT
    _, there, rest = path.partition("/v1/conversations")
    # Begin one, go on with one (its id follows), or start again from somewhere in it.
    return _CONVERSATION if there and rest.count("/") <= 2 and "messages" not in rest and "history" not in rest else None


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    request = kwargs.get("request") or args[1]
    url = request.url
    operation = operation_of(url.path) if request.method == "POST" else None
    if operation is None:
        return None
    body: Any = None
    if "json" in request.headers.get("content-type", ""):
        body = json.loads(request.content)
    body = body if isinstance(body, dict) else {}
    attributes: dict[str, Any] = {}
    sampling(body, attributes)
    model = body.get("model") or body.get("agent_id")
    limit = body.get("max_tokens")
    asked = Asked(
        operation=operation,
        provider=provider_of(url.host, url.port, "mistral_ai", settings.hosts),
        model=model if isinstance(model, str) else None,
        address=url.host,
        port=url.port or (443 if url.scheme == "https" else 80),
        body=body,
        streamed=bool(kwargs.get("stream") or body.get("stream")),
        max_output_tokens=limit if type(limit) is int else None,
        attributes=attributes,
    )
    if isinstance(body.get("model"), str):
        asked.swap = lambda other: _swap(asked, client, args, kwargs, request, {**body, "model": other})
    return asked


def _swap(asked: Asked, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], request: Any, body: dict[str, Any]) -> None:
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
    other = type(request)(
        request.method, request.url, headers=headers, content=json.dumps(body).encode(), extensions=request.extensions
    )
    if "request" in kwargs:
        asked.sent = client, args, {**kwargs, "request": other}
    else:
        asked.sent = client, (args[0], other, *args[2:]), kwargs


def _layers(module: str) -> tuple[RequestLayer, ...]:
    return (
        RequestLayer(module=module, owner="BaseSDK", method="do_request", style="sync"),
        RequestLayer(module=module, owner="BaseSDK", method="do_request_async", style="async"),
    )


def _no_span(tracing_enabled: bool, tracer: Any, span: Any, operation_id: str, request: Any) -> tuple[Any, Any]:
    return request, span


PROVIDER = Provider(
    name="mistral",
    client="mistralai",
    # Version 2 moved the client from `mistralai` to `mistralai.client`.
    layers=(
        *_layers("mistralai.client.basesdk"),
        *_layers("mistralai.azure.client.basesdk"),
        *_layers("mistralai.gcp.client.basesdk"),
        *_layers("mistralai.basesdk"),
    ),
    ask=ask,
    # The SDK emits a span of its own around the same request when MISTRAL_SDK_TELEMETRY asks for it.
    silence=(
        RequestLayer(
            module="mistralai.client._hooks.tracing",
            owner="",
            method="get_traced_request_and_span",
            style="sync",
            instead=_no_span,
        ),
    ),
    tested=("1.9.11", "3.7.0"),
)
