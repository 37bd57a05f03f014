"""Google GenAI: content (also in chats and by automatic function calls), embeddings, images; Gemini API and Vertex AI."""

import copy
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.hosts import address_of
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.providers import google_live
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.streams import async_events, events
from spanledger.instrumentation.wires.gemini import read_content, read_content_event, read_embeddings, read_images

_CONTENT = Operation(name="generate_content", read=read_content, read_event=read_content_event, counts_tokens=True)
_EMBEDDINGS = Operation(name="embeddings", read=read_embeddings, counts_tokens=True)
_IMAGES = Operation(name="image_generation", read=read_images)

#: By the method that ends the path.
OPERATIONS: Mapping[str, Operation] = {
    "generateContent": _CONTENT,
    "streamGenerateContent": _CONTENT,
    "embedContent": _EMBEDDINGS,
    "batchEmbedContents": _EMBEDDINGS,
}

_PARAMETERS = (
    ("temperature", "gen_ai.request.temperature"),
    ("topP", "gen_ai.request.top_p"),
    ("topK", "gen_ai.request.top_k"),
    ("seed", "gen_ai.request.seed"),
    ("frequencyPenalty", "gen_ai.request.frequency_penalty"),
    ("presencePenalty", "gen_ai.request.presence_penalty"),
)


def operation_of(method: str, model: str) -> Operation | None:
    """Vertex AI has one method, `predict`, for whatever is not content."""
    if method != "predict":
        return OPERATIONS.get(method)
    if "embedding" in model:
        return _EMBEDDINGS
    return _IMAGES if model.startswith("imag") else None


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    request = args[0] if args else kwargs["http_request"]
    path, _, method = request.url.partition("?")[0].rpartition(":")
    model = path.rpartition("/")[2]
    operation = operation_of(method, model)
    if operation is None:
        return None
    body = request.data if isinstance(request.data, Mapping) else {}
    config = body.get("generationConfig")
    attributes: dict[str, Any] = {}
    limit = None
    if isinstance(config, Mapping):
        for name, attribute in _PARAMETERS:
            if isinstance(config.get(name), int | float):
                attributes[attribute] = config[name]
        limit = config.get("maxOutputTokens")
    vertex = bool(getattr(client, "vertexai", False))
    region = getattr(client, "location", None)
    if vertex and isinstance(region, str):
        attributes["cloud.region"] = region
    address, port = address_of("/".join(request.url.split("/", 3)[:3]))
    asked = Asked(
        operation=operation,
        provider="gcp.vertex_ai" if vertex else "gcp.gemini",
        model=model,
        address=address,
        port=port,
        body=body,
        streamed=method == "streamGenerateContent",
        max_output_tokens=limit if type(limit) is int else None,
        attributes=attributes,
    )
    if operation is _CONTENT:
        asked.swap = lambda other: _swap(asked, client, request, args[1:], kwargs, other)
    return asked


def _swap(asked: Asked, client: Any, request: Any, rest: tuple[Any, ...], kwargs: dict[str, Any], model: str) -> None:
    """The model stands in the path."""
    path, colon, method = request.url.rpartition(":")
    other = copy.copy(request)
    other.url = f"{path.rpartition('/')[0]}/{model}{colon}{method}"
    asked.sent = client, (other, *rest), {name: value for name, value in kwargs.items() if name != "http_request"}


class _Watched:
    """Comes before the client's own class of a streamed answer. It has no body that is the same with each HTTP client."""

    def segments(self) -> Iterator[Any]:
        call: Call = self.__dict__["_spanledger_call"]
        own: Any = super()
        return events(own.segments(), call, call.asked.operation.read_event, None)

    def async_segments(self) -> AsyncIterator[Any]:
        call: Call = self.__dict__["_spanledger_call"]
        own: Any = super()
        return async_events(own.async_segments(), call, call.asked.operation.read_event, None)

    def __del__(self) -> None:
        call = self.__dict__.get("_spanledger_call")
        if call is not None:
            call.end()


_kinds: dict[type, type] = {}


def watch(call: Call, result: Any) -> None:
    if call.asked.streamed:
        kind = type(result)
        if kind not in _kinds:
            _kinds[kind] = type(kind.__name__, (_Watched, kind), {})
        result._spanledger_call = call
        result.__class__ = _kinds[kind]
        return
    body = result.response_stream
    if isinstance(body, list) and body and body[0]:
        call.asked.operation.read(json.loads(body[0]), call.answer)
    call.end()


PROVIDER = Provider(
    name="google_genai",
    client="google-genai",
    # Below the loops for automatic function calls and continuation: each request to the model is a call.
    layers=(
        RequestLayer(module="google.genai._api_client", owner="BaseApiClient", method="_request", style="sync"),
        RequestLayer(module="google.genai._api_client", owner="BaseApiClient", method="_async_request", style="async"),
        *google_live.LAYERS,
    ),
    ask=ask,
    tested=("1.16.1", "3.6.1"),
    watch=watch,
)
