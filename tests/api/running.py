"""A real collector with its API, on free ports, in a thread of this process."""

import asyncio
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from spanledger.cli.api_server import ApiServer
from spanledger.collector.config import load
from spanledger.collector.service import Collector
from spanledger.collector.settings import Settings


class Running:
    """The collector, its API's client, and a way to hand it entries as its loop does."""

    def __init__(self, collector: Collector, url: str, client: httpx.Client) -> None:
        self.collector, self.url, self.client = collector, url, client

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running(data: Path, limits: Sequence[dict[str, Any]] = (), file: Path | None = None) -> Generator[Running]:
    config = load(file, {}, data=data, grpc_port=0, http_port=0, api_port=0)
    if limits:
        extensions = config.settings.extensions.model_copy(update={"limits": tuple(limits)})
        settings: Settings = config.settings.model_copy(update={"extensions": extensions})
        config = config.model_copy(update={"settings": settings})
    started: list[Any] = []
    up, stop = threading.Event(), threading.Event()

    async def run() -> None:
        collector = Collector(config)
        api = ApiServer.bound_to("127.0.0.1", 0)
        try:
            await collector.start()
            await api.start(collector)
            started.extend([collector, api.url])
            up.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)
        except BaseException as error:
            started[:] = [error]
            up.set()
            raise
        finally:
            await api.stop()
            await collector.stop()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="collector")
    thread.start()
    up.wait(60)
    try:
        if isinstance(started[0], BaseException):
            raise started[0]
        collector, url = started
        with httpx.Client(base_url=url, timeout=30) as client:
            yield Running(collector, url, client)
    finally:
        stop.set()
        thread.join(30)
