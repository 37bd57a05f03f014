"""Checks through Redis, beside a bare SET in the same run."""

import asyncio
import contextlib
import gc
import shutil
import socket
import subprocess
import tempfile
import time
from array import array
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import duckdb
import redis.asyncio
import uvloop

from bench.limits.made import check_of, limits, quantiles
from spanledger.ledger.connect import connect
from spanledger.limits import Limits


@contextlib.contextmanager
def redis_server(folder: Path) -> Generator[str]:
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    time.sleep(1)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


class Asking:
    """One way to ask, under three loads. Times are kept as numbers alone, so that the bench makes no garbage to collect."""

    def __init__(self, name: str, ask: Callable[[int], Awaitable[Any]], seconds: float) -> None:
        self._name, self._ask, self._seconds = name, ask, seconds

    async def run(self) -> None:
        await self._at_once()
        await self._alone()
        await self._paced()

    async def _at_once(self) -> None:
        taken = array("d")
        began = time.perf_counter()
        end = began + self._seconds

        async def one() -> None:
            while (start := time.perf_counter()) < end:
                await self._ask(len(taken))
                taken.append(time.perf_counter() - start)

        await asyncio.gather(*(one() for _ in range(16)))
        self._say(f"16 at a time: {len(taken) / (time.perf_counter() - began):,.0f}/s", taken)

    async def _alone(self) -> None:
        taken = array("d")
        for number in range(int(200 * self._seconds)):
            start = time.perf_counter()
            await self._ask(number)
            taken.append(time.perf_counter() - start)
        self._say("one at a time", taken)

    async def _paced(self) -> None:
        taken = array("d")

        async def due(number: int, at: float) -> None:
            await self._ask(number)
            taken.append(time.perf_counter() - at)

        asked: set[asyncio.Task[None]] = set()
        began = time.perf_counter()
        for number in range(int(2_000 * self._seconds)):
            at = began + number / 2_000
            if (early := at - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(due(number, at))
            asked.add(task)
            task.add_done_callback(asked.discard)
        while asked:
            await asyncio.sleep(0.001)
        self._say("2,000 a second, each from when it was due", taken)

    def _say(self, load: str, taken: "array[float]") -> None:
        print(f"through Redis, {self._name}, {load}: {quantiles(taken.tolist())}, at most {max(taken) * 1e3:,.1f} ms")


def through_redis(seconds: float) -> None:
    """Checks of one event loop, 16 at a time, alone and paced, and a bare SET in the same run; Redis appends each second."""

    async def run(url: str, of: Limits) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)  # as `spanledger serve` does
        pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=16, timeout=None)
        client = redis.asyncio.Redis(connection_pool=pool)
        await Asking("bare SET", lambda n: client.set("x", n), seconds).run()
        await Asking("check", lambda n: of.ask(check_of(n)), seconds).run()
        await client.aclose()
        await pool.aclose()
        await of.leave()

    def history() -> duckdb.DuckDBPyConnection:
        return connect(Path(folder))

    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        of = limits(Path(folder), kept=False, history=history, counters=url)
        with history() as connection:
            of.rebuild(connection)
        uvloop.run(run(url, of))
        of.close()
