"""The REST API's server: uvicorn inside the collector's event loop, which alone decides when it stops."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from spanledger.collector.service import Collector

#: What a request under way may take when the server stops; a check that was asked gets its answer.
GRACE_SECONDS = 3


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave them to `serve`."""
        yield


class ApiServer:
    """Bound when it is made, so that a port in use is known before anything is opened; serving from `start` to `stop`."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        #: Whether nobody has to say who they are; known once it is started.
        self.open_to_all = False

    @classmethod
    def bound_to(cls, host: str, port: int) -> "ApiServer":
        """Raises `ConfigError` when the port is in use or the address is not this machine's."""
        from spanledger.collector.config import ConfigError

        try:
            listening = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                hint = "stop what uses it, or choose another with --api-port (0 picks a free one)"
                raise ConfigError(f"the API's port {port} on {host} is in use; {hint}") from error
            raise ConfigError(f"the API cannot listen on {host}:{port}: {error.strerror or error}") from error
        # Connections inherit it. asyncio's own loop leaves it out for sockets made like this one, and an answer written as head
        # and body then waits 40 ms for the acknowledgement of its head.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(listening)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it."""
        host, port = self._listening.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self, collector: "Collector") -> None:
        """Serve `create_app(collector)`; returns when requests are answered."""
        from spanledger.api.app import create_app
        from spanledger.api.bounded_connection import ReadingBounds
        from spanledger.api.check_connection import check_connections

        app = create_app(collector)
        api = collector.config.api
        bounds = ReadingBounds(header_seconds=api.read_header_timeout, body_seconds=api.read_timeout)
        self.open_to_all = app.state.access.open_to_all
        config = uvicorn.Config(
            app,
            http=check_connections(app.state.checks, bounds),  # type: ignore[arg-type]
            ws="none",  # looked for otherwise, and imported
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listening]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the API ended as it started")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Answer what was asked and close; does nothing when it never started or has stopped."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        self._listening.close()
