"""Headers name whom a request's calls are for: ASGI and WSGI, plain and streamed answers, threads and workers."""

import asyncio
import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from spanledger.instrumentation import attribute
from spanledger.instrumentation.attribution import current
from spanledger.instrumentation.middleware import AttributeASGI, AttributeWSGI


def _asgi(path: str, headers: dict[str, str]) -> str:
    app = FastAPI()
    app.add_middleware(AttributeASGI, tenant="X-Tenant", user="X-User", tags={"plan": "X-Plan"})

    @app.get("/plain")
    async def plain() -> dict[str, str]:
        return dict(current())

    @app.get("/in-a-thread")
    def in_a_thread() -> dict[str, str]:
        return dict(current())

    @app.get("/streamed")
    async def streamed() -> StreamingResponse:
        async def pieces() -> Any:
            await asyncio.sleep(0)
            yield str(dict(current()))

        return StreamingResponse(pieces())

    async def ask() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return (await client.get(path, headers=headers)).text

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/plain", "/in-a-thread", "/streamed"])
def test_an_asgi_applications_calls_are_attributed_by_its_headers(path: str) -> None:
    said = _asgi(path, {"x-tenant": " acme ", "x-user": "u-1", "x-plan": "gold", "x-other": "no"})
    assert said.replace("'", '"').replace(" ", "") == '{"tenant":"acme","user":"u-1","tag.plan":"gold"}'


def test_without_the_headers_nothing_is_attributed() -> None:
    assert _asgi("/plain", {}) == "{}"
    assert current() == {}


def test_a_wsgi_applications_calls_are_attributed_even_while_its_body_is_sent() -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        seen.append(dict(current()))

        def body() -> Iterator[bytes]:
            try:
                yield b"a"
                seen.append(dict(current()))
                yield b"b"
            finally:
                seen.append(dict(current()))

        return body()

    wrapped = AttributeWSGI(app, tenant="x-tenant", session="x-session")
    body: Any = wrapped({"HTTP_X_TENANT": "acme", "HTTP_X_SESSION": "s"}, lambda *_: None)
    assert next(body) == b"a"
    assert current() == {}
    assert next(body) == b"b"
    body.close()
    assert seen == [{"tenant": "acme", "session": "s"}] * 3
    assert current() == {}


def test_a_list_of_pieces_is_handed_on_as_it_is() -> None:
    pieces = [b"whole"]
    assert AttributeWSGI(lambda environ, start: pieces, tenant="x-tenant")({}, lambda *_: None) is pieces


def test_the_context_carries_attribution_into_threads() -> None:
    with attribute(tenant="acme"), ThreadPoolExecutor(1) as pool:
        carried = pool.submit(contextvars.copy_context().run, current).result()
        assert carried == {"tenant": "acme"}
        assert pool.submit(current).result() == {}


def test_asyncio_to_thread_carries_it_by_itself() -> None:
    async def run() -> Any:
        with attribute(tenant="acme"):
            return await asyncio.to_thread(current)

    assert asyncio.run(run()) == {"tenant": "acme"}
