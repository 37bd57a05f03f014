"""Checks over HTTP beside a bare ASGI endpoint and a FastAPI endpoint, in turn, in the same run."""

import contextlib
import gc
import multiprocessing
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.limits.client import Asked, asked, request
from bench.limits.made import body_of, limits, quantiles
from spanledger.control import Control

ROUNDS = 3


def over_http(seconds: float) -> None:
    """16 connections of one client process; server and client have a core each. Every server is asked in each round."""
    served = {kind: Served(kind) for kind in ("bare ASGI", "FastAPI", "check")}
    found: dict[str, list[Asked]] = {kind: [] for kind in served}
    for _ in range(ROUNDS):
        for kind, server in served.items():
            found[kind].append(asked(server.port, server.process.pid, seconds / ROUNDS))
    for server in served.values():
        server.stop()
    rates = {kind: statistics.median(one.answers for one in rounds) / seconds * ROUNDS for kind, rounds in found.items()}
    for kind, rounds in found.items():
        cpu, share = statistics.median(one.cpu for one in rounds), rates[kind] / rates["bare ASGI"]
        told = f"{rates[kind]:,.0f}/s ({share:.2f} of bare ASGI), {quantiles(rounds[-1].taken)}"
        print(f"over HTTP, {kind}: {told}, {cpu:.0f} µs of CPU each")


class Served:
    """A server of one process and one core, over uvicorn with uvloop and httptools."""

    def __init__(self, kind: str) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.process = multiprocessing.get_context("fork").Process(target=_serve, args=(kind, self.socket), daemon=True)
        self.process.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as client:
                client.settimeout(20)
                client.sendall(request(body_of(0)))
                if b"200" in client.recv(100):
                    return
        raise RuntimeError(f"{kind} does not answer")

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.socket.close()


def _serve(kind: str, listening: socket.socket) -> None:
    import uvicorn

    from spanledger.api.bounded_connection import ReadingBounds
    from spanledger.api.check_connection import check_connections

    with tempfile.TemporaryDirectory() as folder:
        app: Any = {"bare ASGI": _bare, "FastAPI": _fastapi, "check": _checks}[kind](Path(folder))
        http = check_connections(app.state.checks, ReadingBounds()) if kind == "check" else "httptools"
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", loop="uvloop", http=http)  # type: ignore[arg-type]
        gc.collect()
        gc.freeze()
        gc.set_threshold(20000, 20, 50)  # as `spanledger serve` does
        uvicorn.Server(config).run(sockets=[listening])


def _bare(_: Path) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def _fastapi(_: Path) -> Any:
    from fastapi import FastAPI

    from spanledger.api.models import CheckBody

    app = FastAPI()

    async def check(body: CheckBody) -> dict[str, Any]:
        return {"verdict": "allow", "hold_id": "x", "expires_at": None, "warnings": []}

    app.post("/api/checks")(check)
    return app


def _checks(folder: Path) -> Any:
    from types import SimpleNamespace

    from spanledger.api import create_app
    from spanledger.collector.config import load

    of = limits(folder)
    collector: Any = SimpleNamespace(
        limits=of, control=Control.open(folder / "control.sqlite"), config=load(None, {}, data=folder)
    )
    return create_app(collector)
