"""Checks through Redis, beside a bare SET in the same run."""

import asyncio
import contextlib
import gc
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import duckdb
import redis.asyncio

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


def through_redis(seconds: float) -> None:
    """Checks of one event loop, 16 at a time, alone and paced, and a bare SET in the same run; Redis appends each second."""

    async def run(url: str, of: Limits) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)  # as `spanledger serve` does
        client = redis.asyncio.Redis.from_url(url)
        for name, ask in (("bare SET", lambda n: client.set("x", n)), ("check", lambda n: of.ask(check_of(n)))):
            taken: list[float] = []
            end = time.perf_counter() + seconds

            async def one(ask: Any = ask, taken: list[float] = taken, end: float = end) -> None:
                while (start := time.perf_counter()) < end:
                    await ask(len(taken))
                    taken.append(time.perf_counter() - start)

            began = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(16)))
            print(f"through Redis, {name}, 16 at a time: {len(taken) / (time.perf_counter() - began):,.0f}/s, {quantiles(taken)}")
            alone = []
            for number in range(int(200 * seconds)):
                start = time.perf_counter()
                await ask(number)
                alone.append(time.perf_counter() - start)
            print(f"through Redis, {name}, one at a time: {quantiles(alone)}")
            paced: list[float] = []

            async def due(number: int, at: float, ask: Any = ask, paced: list[float] = paced) -> None:
                await ask(number)
                paced.append(time.perf_counter() - at)

            began, asked = time.perf_counter(), []
            for number in range(int(2_000 * seconds)):
                at = began + number / 2_000
                if (early := at - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                asked.append(asyncio.create_task(due(number, at)))
            await asyncio.gather(*asked)
            print(f"through Redis, {name}, 2,000 a second, each from when it was due: {quantiles(paced)}")
        await client.aclose()
        await of.leave()

    def history() -> duckdb.DuckDBPyConnection:
        return connect(Path(folder))

    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        of = limits(Path(folder), kept=False, history=history, counters=url)
        with history() as connection:
            of.rebuild(connection)
        asyncio.run(run(url, of))
        of.close()
