"""OTLP over HTTP: the listener, and what all its connections share."""

import asyncio

from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.http_connection import Connection, HttpBounds, Shared
from spanledger.collector.receive.tls import TlsFiles


class HttpReceiver:
    """The HTTP listener."""

    def __init__(
        self, accept: Accept, *, host: str, port: int, bounds: HttpBounds | None = None, tls: TlsFiles | None = None
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._shared = Shared(accept=accept, bounds=bounds or HttpBounds())
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; raises `OSError` when the port is in use or a certificate cannot be used. `port` is the bound one."""
        loop = asyncio.get_running_loop()
        context = None if self._tls is None else self._tls.for_http()
        shaking = None if context is None else self._shared.bounds.header_seconds
        self._server = await loop.create_server(
            lambda: Connection(self._shared), self._host, self._port, ssl=context, backlog=1024, ssl_handshake_timeout=shaking
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace_seconds: float) -> None:
        """Take no new connection; requests under way have `grace_seconds` to end, idle connections are closed."""
        if self._server is None:
            return
        self._server.close()
        connections = self._shared.connections
        for connection in list(connections):
            connection.finish()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        while connections and loop.time() < deadline:
            await asyncio.sleep(0.02)
        for connection in list(connections):
            connection.abort()
        self._server = None
