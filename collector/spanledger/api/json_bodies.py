"""Bodies are JSON, whatever a client calls them: `curl -d` says that they are a form, and errors would name no field."""

from starlette.types import ASGIApp, Receive, Scope, Send

_JSON = (b"content-type", b"application/json")


class JsonBodies:
    """Passes requests on with the content type that their bodies have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*(one for one in scope["headers"] if one[0] != b"content-type"), _JSON]}
        await self._app(scope, receive, send)
