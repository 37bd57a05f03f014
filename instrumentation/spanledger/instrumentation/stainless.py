"""Reads the requests of the SDKs that Stainless generates: OpenAI, Anthropic, Groq, Together, Cerebras, Fireworks …"""

import copy
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.harvest import Harvest
from spanledger.instrumentation.hosts import address_of, provider_of
from spanledger.instrumentation.provider import Ask, RequestLayer
from spanledger.instrumentation.settings import Settings

#: Header by which `with_raw_response` and `with_streaming_response` reach the request layer.
RAW = "X-Stainless-Raw-Response"


def layers(module: str) -> tuple[RequestLayer, ...]:
    """`request` of both base clients: helpers, raw forms, retries and `client.post` all pass it once."""
    return (
        RequestLayer(module=module, owner="SyncAPIClient", method="request", style="sync"),
        RequestLayer(module=module, owner="AsyncAPIClient", method="request", style="async"),
    )


Extra = Callable[[Mapping[str, Any], dict[str, Any]], None]
Add = Callable[[Asked, Any, bool], None]


def asking(
    operations: Mapping[str, Operation],
    default: Callable[[Any], str],
    extra: Extra | None = None,
    by_host: bool = True,
    fetched: Callable[[str], Harvest | None] | None = None,
) -> Ask:
    """The reader of requests for one SDK.

    `operations` by the end of the path; `default` names the provider of a client; `extra` adds span attributes
    from the body; `by_host` lets a known host in `base_url` name the provider; `fetched` says what a GET of a path tells of.
    """

    def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
        options: Any = args[1] if len(args) > 1 else kwargs.get("options")
        harvest = None
        if options.method.lower() == "post":
            operation = operation_at(operations, options.url)
        else:
            harvest = None if fetched is None else fetched(options.url.partition("?")[0])
            operation = None if harvest is None else harvest.operation
        if operation is None:
            return None
        body = options.json_data
        if type(body) is not dict and not isinstance(body, Mapping):
            body = {}
        extra_json = getattr(options, "extra_json", None)
        if extra_json:
            body = {**body, **extra_json}
        if options.url.startswith("http"):
            host, port = address_of("/".join(options.url.split("/", 3)[:3]))
        else:
            # The property of the same name takes twenty times as long.
            host, port = _address(getattr(client, "_base_url", None) or client.base_url)
        provider = default(client)
        if by_host:
            provider = provider_of(host, port, provider, settings.hosts)
        attributes: dict[str, Any] = {}
        if extra is not None:
            extra(body, attributes)
        model = body.get("model")
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
        asked = Asked(
            operation=operation,
            provider=provider,
            model=model if isinstance(model, str) else None,
            address=host,
            port=port,
            body=body,
            streamed=bool(kwargs.get("stream") or body.get("stream")),
            max_output_tokens=limit if type(limit) is int else None,
            attributes=attributes,
            harvest=harvest,
        )
        asked.swap = lambda model: send(asked, client, args, kwargs, {"model": model})
        return asked

    return ask


def send(asked: Asked, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Send these fields as well, or instead; the application's own objects are left as they are."""
    if asked.sent is not None:
        _, args, kwargs = asked.sent
    options = copy.copy(args[1] if len(args) > 1 else kwargs["options"])
    options.json_data = {**options.json_data, **more}
    asked.body = {**asked.body, **more}
    if len(args) > 1:
        asked.sent = client, (args[0], options, *args[2:]), kwargs
    else:
        asked.sent = client, args, {**kwargs, "options": options}


#: By the client's own object for its URL: to ask that for its parts takes longer than all else here.
_addresses: dict[int, tuple[Any, str, int]] = {}


def _address(url: Any) -> tuple[str, int]:
    known = _addresses.get(id(url))
    if known is None or known[0] is not url:
        if len(_addresses) >= 100:
            _addresses.clear()
        known = _addresses[id(url)] = url, url.host, url.port or (443 if url.scheme == "https" else 80)
    return known[1], known[2]


def operation_at(operations: Mapping[str, Operation], url: str) -> Operation | None:
    """The operation whose path ends this URL, whatever stands before it or in its query."""
    found = operations.get(url)
    if found is not None:
        return found
    path = url.partition("?")[0]
    if path.startswith("http"):
        path = urlsplit(path).path
    for ending, operation in operations.items():
        if path.endswith(ending):
            return operation
    return None


def is_raw(options: Any) -> bool:
    """Whether the application will read the bytes itself."""
    headers = options.headers
    return isinstance(headers, Mapping) and any(name.lower() == RAW.lower() for name in headers)


def sampling(body: Mapping[str, Any], attributes: dict[str, Any]) -> None:
    """Parameters that the conventions have attributes for."""
    if _PARAMETERS.keys().isdisjoint(body):
        return
    for name in body:
        if name in _PARAMETERS and type(value := body[name]) in _NUMBERS:
            attributes[_PARAMETERS[name]] = value


_NUMBERS = (int, float)
_PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}
