"""Attributes what a web application asks of models to whom its request's headers name: ASGI and WSGI.

    app.add_middleware(AttributeASGI, tenant="x-tenant-id", user="x-user-id", tags={"plan": "x-plan"})    # Starlette, FastAPI
    app.wsgi_app = AttributeWSGI(app.wsgi_app, tenant="x-tenant-id")                                      # Flask

Whoever can send such a header decides who is charged: read only headers that a gateway in front of the application sets.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, TypeVar

from spanledger.instrumentation.attribution import attribute

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
App = TypeVar("App")

#: A longer value is no name of a tenant or user, and would travel with every call.
LONGEST = 256


class _Headers:
    """Which header names which dimension or tag."""

    def __init__(self, names: Mapping[str, str | None], tags: Mapping[str, str]) -> None:
        self._dimensions = {name: header.lower() for name, header in names.items() if header}
        self._tags = {tag: header.lower() for tag, header in tags.items()}

    def read(self, get: Callable[[str], str | None]) -> attribute:
        named = {name: _kept(get(header)) for name, header in self._dimensions.items()}
        tagged = {tag: _kept(get(header)) for tag, header in self._tags.items()}
        return attribute(**named, **tagged)


def _kept(value: str | None) -> str | None:
    value = value.strip()[:LONGEST] if value else None
    return value or None


class _Attribute(Generic[App]):
    def __init__(
        self,
        app: App,
        *,
        tenant: str | None = None,
        project: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        names = {"tenant": tenant, "project": project, "user": user, "agent": agent, "session": session}
        self._app = app
        self._headers = _Headers(names, tags or {})


class AttributeASGI(_Attribute[ASGI]):
    """Middleware for ASGI applications. Each argument is the name of a header; one that is absent says nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        with self._headers.read(headers.get):
            await self._app(scope, receive, send)


class AttributeWSGI(_Attribute[WSGI]):
    """Middleware for WSGI applications. Each argument is the name of a header; one that is absent says nothing."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        of = self._headers.read(lambda header: environ.get("HTTP_" + header.upper().replace("-", "_")))
        with of:
            body = self._app(environ, start_response)
        return body if isinstance(body, list | tuple) else _Body(body, of)


class _Body:
    """A body that the application makes while it is sent: what it asks of models then is attributed as well."""

    def __init__(self, body: Iterable[bytes], of: attribute) -> None:
        self._body = body
        self._pieces: Iterator[bytes] | None = None
        self._of = of

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._of:
            if self._pieces is None:
                self._pieces = iter(self._body)
            return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._of:
                close()
