"""LiteLLM, where it speaks with a provider itself. Where it goes through a client that is metered, that one is the call."""

import json
from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation, nothing
from spanledger.instrumentation.bodies import reader_for
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.hosts import address_of, provider_of
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.providers.anthropic import OPERATIONS as ANTHROPIC
from spanledger.instrumentation.providers.cohere import OPERATIONS as COHERE
from spanledger.instrumentation.providers.google_genai import operation_of
from spanledger.instrumentation.providers.ollama import OPERATIONS as OLLAMA
from spanledger.instrumentation.providers.openai import OPERATIONS as OPENAI
from spanledger.instrumentation.results import watch_response
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import sampling
from spanledger.instrumentation.streams import watch_body
from spanledger.instrumentation.wires.bedrock import read_converse, read_converse_event, read_invoke_event

_BEDROCK: Mapping[str, Operation] = {
    "/converse": Operation(name="chat", read=read_converse, counts_tokens=True),
    "/converse-stream": Operation(name="chat", read=nothing, read_event=read_converse_event, counts_tokens=True),
    "/invoke-with-response-stream": Operation(name="chat", read=nothing, read_event=read_invoke_event, counts_tokens=True),
}

#: By the end of the path: the format of whoever answers there, and who that is if nothing else says it. The longer
#: endings stand first.
OPERATIONS: Mapping[str, tuple[Operation, str]] = {
    ending: (operation, provider)
    for operations, provider in (
        (_BEDROCK, "aws.bedrock"),
        (ANTHROPIC, "anthropic"),
        ({f"/{path}": operation for path, operation in COHERE.items()}, "cohere"),
        (OLLAMA, "ollama"),
        (OPENAI, "litellm"),
    )
    for ending, operation in operations.items()
}

#: LiteLLM's names where OpenTelemetry has others.
NAMES: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "codestral": "mistral_ai",
    "xai": "x_ai",
    "moonshot": "moonshot_ai",
    "cohere_chat": "cohere",
    "watsonx": "ibm.watsonx.ai",
    "fireworks_ai": "fireworks",
    "ollama_chat": "ollama",
    "voyage": "voyageai",
    "anthropic_text": "anthropic",
}


def _at(path: str) -> tuple[Operation, str] | None:
    method = path.rpartition(":")[2]
    if method != path:
        model = path.rpartition("/")[2].partition(":")[0]
        found = operation_of(method, model)
        if found is not None:
            return found, "gcp.vertex_ai" if "/publishers/" in path else "gcp.gemini"
    for ending, operation in OPERATIONS.items():
        if path.endswith(ending):
            return operation
    return None


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    url = str(args[0] if args else kwargs["url"])
    path = url.partition("?")[0]
    found = _at(path)
    if found is None:
        return None
    operation, provider = found
    body = _document(kwargs.get("json") or kwargs.get("data") or (args[1] if len(args) > 1 else None))
    logged = getattr(kwargs.get("logging_obj"), "model_call_details", None) or {}
    address, port = address_of("/".join(url.split("/", 3)[:3]))
    named = str(logged.get("custom_llm_provider") or provider)
    model = body.get("model") or logged.get("model") or _model_in(path)
    attributes: dict[str, Any] = {}
    sampling(body, attributes)
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    asked = Asked(
        operation=operation,
        provider=provider_of(address, port, NAMES.get(named, named), settings.hosts),
        model=model if isinstance(model, str) else None,
        address=address,
        port=port,
        body=body,
        streamed=bool(kwargs.get("stream") or body.get("stream")),
        max_output_tokens=limit if type(limit) is int else None,
        attributes=attributes,
    )

    def swap(other: str) -> None:
        changed = {**body, "model": other}
        place = "json" if kwargs.get("json") else "data"
        asked.sent = client, args, {**kwargs, place: changed if place == "json" else json.dumps(changed)}

    signed = "AWS4" in str((kwargs.get("headers") or {}).get("Authorization"))
    if "model" in body and not signed and (kwargs.get("json") or isinstance(kwargs.get("data"), str)):
        asked.swap = swap
    return asked


def watch(call: Call, response: Any) -> None:
    """Some of its streams stop reading when the answer has ended, and keep the response: so the call ends with the usage."""
    read = response.is_stream_consumed or response.is_closed
    reader = None if read or response.status_code >= 400 else reader_for(response, call.asked.operation, call.answer)
    if reader is None:
        watch_response(call, response)
        return

    def feed(piece: bytes) -> None:
        reader(piece)
        if call.answer.finished and call.answer.usage is not None:
            call.end()

    watch_body(response, call, feed)


def _model_in(path: str) -> str | None:
    for before in ("/models/", "/model/"):
        _, there, rest = path.partition(before)
        if there:
            return rest.partition(":")[0].partition("/")[0]
    return None


def _document(body: Any) -> Mapping[str, Any]:
    if isinstance(body, Mapping):
        return body
    if isinstance(body, str | bytes):
        try:
            document = json.loads(body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}
    return {}


_FUNCTIONS = tuple(
    start + function
    for function in (
        "completion", "text_completion", "embedding", "responses", "image_generation", "image_edit", "transcription", "speech",
        "moderation", "rerank",
    )
    for start in ("", "a")
)  # fmt: skip
#: Where they are made, and where an application that imports LiteLLM before us finds them.
_FUNCTION_MODULES = ("litellm.main", "litellm.responses.main", "litellm.images.main", "litellm.rerank_api.main", "litellm")

_STREAMS = "litellm.litellm_core_utils.streaming_handler"
_MODULE = "litellm.llms.custom_httpx.http_handler"

PROVIDER = Provider(
    name="litellm",
    client="litellm",
    # Its own HTTP: OpenAI-like routes use the openai SDK instead, which does not pass here.
    layers=(
        RequestLayer(module=_MODULE, owner="HTTPHandler", method="post", style="sync"),
        RequestLayer(module=_MODULE, owner="AsyncHTTPHandler", method="post", style="async"),
    ),
    ask=ask,
    reveals=(
        *(
            RequestLayer(module=module, owner="", method=function, style="sync")
            for module in _FUNCTION_MODULES
            for function in _FUNCTIONS
        ),
        # Gemini's streams make their request with the first chunk.
        RequestLayer(module=_STREAMS, owner="CustomStreamWrapper", method="__next__", style="sync"),
        RequestLayer(module=_STREAMS, owner="CustomStreamWrapper", method="__anext__", style="async"),
    ),
    tested=("1.80.0", "1.110.2"),
    watch=watch,
)
