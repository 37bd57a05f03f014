"""What a check costs: in process, over HTTP beside bare ASGI and FastAPI, through Redis, with many limits; and a rebuild.

    .venv/bin/python -m bench.limits [process http redis many served rebuild] [--seconds 5] [--entries 10000000]

Each figure stands beside its floor from the same run; on a shared machine read the ratios.
"""

import argparse
import asyncio
import contextlib
import gc
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import orjson

from bench import made_entries
from spanledger.control import Control
from spanledger.limits import Check, Limit, Limits
from spanledger.limits.counters import Amount, Posting
from spanledger.limits.covering import place_of
from spanledger.prices import Prices

BODY = orjson.dumps(
    {
        "tenant": "acme", "user": "u-17", "provider": "openai", "model": "gpt-4o", "operation": "chat", "input_tokens": 1200,
        "max_output_tokens": 500, "lease_seconds": 1,
    }
)  # fmt: skip
LIMITS: list[dict[str, Any]] = [
    {"name": "month", "measure": "cost_usd", "amount": "90000000", "window": "month", "selectors": {"tenant": "acme"}},
    {"name": "hour", "measure": "tokens", "amount": 10**14, "window": "rolling 1h", "per": ["user"]},
    {"name": "calls", "measure": "requests", "amount": 10**12, "window": "day", "per": ["tenant", "model"]},
]


def limits(folder: Path, *, kept: bool = True, **more: Any) -> Limits:
    made = Limits(Control.open(folder / "control.sqlite"), Prices(), folder=folder if kept else None, **more)
    made.configure(LIMITS)
    return made


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(len(ordered) * q)] * 1e6 for q in (0.5, 0.99))
    return f"p50 {p50:,.0f} µs, p99 {p99:,.0f} µs"


def check_of(number: int) -> Check:
    return Check(
        tenant="acme", user=f"u-{number % 1000}", provider="openai", model="gpt-4o", operation="chat", input_tokens=1200,
        max_output_tokens=500,
    )  # fmt: skip


def in_process(seconds: float) -> None:
    """As fast as it goes, and paced at 2,000 a second; every second hold is released."""
    with tempfile.TemporaryDirectory() as folder:
        of = limits(Path(folder))
        began, count, cpu = time.perf_counter(), 0, time.process_time()
        while time.perf_counter() - began < seconds:
            verdict = of.check(check_of(count))
            if count % 2:
                of.release(verdict.hold_id or "")
            count += 1
        rate, cost = count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6
        print(f"in process, as fast as it goes: {rate:,.0f} checks/s, {cost:.1f} µs of CPU each, half a release included")
        taken = []
        began = time.perf_counter()
        for number in range(int(2_000 * seconds)):
            while time.perf_counter() < began + number / 2_000:
                pass
            start = time.perf_counter()
            of.check(check_of(number))
            taken.append(time.perf_counter() - start)
        print(f"in process, 2,000 checks/s: {quantiles(taken)}")
        of.close()


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
                client.sendall(
                    b"POST /api/checks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(BODY), BODY)
                )
                if b"200" in client.recv(100):
                    return
        raise RuntimeError(f"{kind} does not answer")

    def cpu_seconds(self) -> float:
        """User and system time of the server so far; on a busy machine it says more than the clock."""
        return _cpu_seconds(self.process.pid)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.socket.close()


def _serve(kind: str, listening: socket.socket) -> None:
    import uvicorn

    from spanledger.api.check_connection import check_connections

    with tempfile.TemporaryDirectory() as folder:
        app: Any = {"bare ASGI": _bare, "FastAPI": _fastapi, "check": _checks}[kind](Path(folder))
        http = check_connections(app.state.checks) if kind == "check" else "httptools"
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


def _ask(port: int, seconds: float, connections: int, count: "Synchronized[int]", taken: Any) -> None:
    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = b"POST /api/checks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            len(BODY),
            BODY,
        )
        times = []
        while (start := time.perf_counter()) < end:
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - start)
        writer.close()
        all_times.extend(times)

    async def run() -> None:
        await asyncio.gather(*(connection() for _ in range(connections)))

    import uvloop

    all_times: list[float] = []
    end = time.perf_counter() + seconds
    uvloop.run(run())
    count.value = len(all_times)
    taken.put(all_times[:50_000])


def over_http(seconds: float) -> None:
    """16 connections of one client process; server and client have a core each."""
    rates: dict[str, list[float]] = {"bare ASGI": [], "FastAPI": [], "check": []}
    last: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {kind: [] for kind in rates}
    served = {kind: Served(kind) for kind in rates}
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        for kind, server in served.items():
            count, taken, before = context.Value("i", 0), context.Queue(), server.cpu_seconds()
            client = context.Process(target=_ask, args=(server.port, seconds / 3, 16, count, taken))
            client.start()
            last[kind] = taken.get()
            client.join()
            rates[kind].append(count.value / (seconds / 3))
            cpu[kind].append((server.cpu_seconds() - before) / count.value * 1e6)
    for server in served.values():
        server.stop()
    bare = statistics.median(rates["bare ASGI"])
    for kind, found in rates.items():
        rate = statistics.median(found)
        told = f"{rate:,.0f}/s ({rate / bare:.2f} of bare ASGI), {quantiles(last[kind])}"
        print(f"over HTTP, {kind}: {told}, {statistics.median(cpu[kind]):.0f} µs of CPU each")


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
    import duckdb
    import redis.asyncio

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
        from spanledger.ledger.connect import connect

        return connect(Path(folder))

    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        of = limits(Path(folder), kept=False, history=history, counters=url)
        with history() as connection:
            of.rebuild(connection)
        asyncio.run(run(url, of))
        of.close()


def many(seconds: float) -> None:
    """10,000 limits and a million live buckets: memory, and a check beside the same check with three limits."""

    def rate(of: Limits, check: Callable[[int], Check]) -> float:
        for number in range(2_000):
            of.check(check(number))
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / 2:
            of.check(check(count % 2_000))
            count += 1
        return (time.perf_counter() - began) / count * 1e6

    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as folder:
        small = limits(Path(few), kept=False)
        of = Limits(Control.open(Path(folder) / "control.sqlite"), small._prices)
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        given: list[dict[str, Any]] = [
            {"name": f"tenant {n}", "measure": "cost_usd", "amount": 10**6, "window": "month", "selectors": {"tenant": f"t{n}"}}
            for n in range(9_997)
        ]
        of.configure([*given, *({**one, "selectors": {}} for one in LIMITS)])
        per_user = next(limit for limit in of.all() if limit.per == ("user",))
        for start in range(0, 1_000_000, 10_000):
            of._counters.post([Posting(None, None, _buckets(per_user, start, of.micros()))], of.micros())
        buckets = of.counts()["buckets"]
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"many: {len(of.all()):,} limits and {buckets:,} buckets: {grown:,.0f} MB more")

        def spread(number: int) -> Check:
            return Check(tenant=f"t{number}", user=f"u-{number * 499}", provider="openai", model="gpt-4o", input_tokens=1200,
                         max_output_tokens=500)  # fmt: skip

        gc.collect()
        gc.freeze()
        base, found = rate(small, check_of), rate(of, spread)
        print(f"many: a check {found:,.1f} µs; with three limits {base:,.1f} µs; {found / base:.2f} times")


def _buckets(limit: Limit, start: int, now: int) -> list[Amount]:
    return [Amount(place_of(limit, (f"u-{n}",), now), now, 5) for n in range(start, start + 10_000)]


def served(seconds: float) -> None:
    """`spanledger serve` over a ledger of a million users with 10,000 limits, and with three: its memory, and CPU for a check."""
    import sys

    import polars as pl
    import yaml

    from spanledger.ledger.frame import conform
    from spanledger.ledger.table import Ledger

    now = datetime.now(UTC)
    frame = pl.DataFrame({"number": range(1_000_000)}).select(
        entry_id=pl.format("{}", "number").str.zfill(32), kind=pl.lit("call"), occurred_at=pl.lit(now), recorded_at=pl.lit(now),
        day=pl.lit(now.date()), calls=pl.lit(1), user=pl.format("u-{}", "number"),
        input_tokens=pl.lit(10), output_tokens=pl.lit(10),
        cost_usd=pl.lit("0.01").cast(pl.Decimal(20, 12)), cost_state=pl.lit("priced"), outcome=pl.lit("ok"),
    )  # fmt: skip
    tenants: list[dict[str, Any]] = [
        {"name": f"tenant {n}", "measure": "cost_usd", "amount": 10**6, "window": "month", "selectors": {"tenant": f"t{n}"}}
        for n in range(9_997)
    ]
    for name, given in (("three limits, empty ledger", LIMITS), ("10,000 limits, a million users", [*tenants, *LIMITS])):
        with tempfile.TemporaryDirectory() as folder:
            if given is not LIMITS:
                Ledger.open(Path(folder) / "data" / "entries").post(conform(frame), None)
            config = Path(folder) / "c.yaml"
            config.write_text(yaml.safe_dump({"extensions": {"limits": given}}))
            words = [
                sys.executable,
                "-m",
                "spanledger.cli",
                "serve",
                "--announce",
                "--config",
                str(config),
                "--data",
                f"{folder}/data",
            ]
            began = time.perf_counter()
            process = subprocess.Popen(
                [*words, "--grpc-port", "0", "--http-port", "0", "--api-port", "0"], stdout=subprocess.PIPE, text=True
            )
            try:
                assert process.stdout is not None
                port = int(orjson.loads(process.stdout.readline())["api"].rpartition(":")[2])
                started = time.perf_counter() - began
                context = multiprocessing.get_context("fork")
                count, taken, before = context.Value("i", 0), context.Queue(), _cpu_seconds(process.pid)
                client = context.Process(target=_ask, args=(port, seconds, 16, count, taken))
                client.start()
                times = taken.get()
                client.join()
                cpu = (_cpu_seconds(process.pid) - before) / count.value * 1e6
                status = Path(f"/proc/{process.pid}/status").read_text()
                resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
                told = f"{count.value / seconds:,.0f} checks/s, {quantiles(times)}, {cpu:.0f} µs of CPU each"
                print(f"spanledger serve, {name}: up in {started:.1f} s, {resident:,.0f} MB resident; {told}")
            finally:
                process.terminate()
                process.wait()


def _cpu_seconds(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rebuild(entries: int) -> None:
    """Counters from a ledger of so many calls, over all of which a year's limits reach."""
    from spanledger.ledger.connect import connect
    from spanledger.ledger.table import Ledger

    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "entries")
        for table in made_entries.days(entries, datetime.now(UTC).date(), 90):
            ledger.post(table, None)
        of = Limits(Control.open(Path(folder) / "control.sqlite"), Prices())
        of.configure([
            {"name": "year", "measure": "cost_usd", "amount": 10**6, "window": "year", "per": ["tenant"]},
            {"name": "month", "measure": "tokens", "amount": 10**12, "window": "month", "per": ["user"]},
            {"name": "rolling", "measure": "requests", "amount": 10**9, "window": "rolling 90d", "per": ["tenant", "model"]},
            {"name": "life", "measure": "cost_usd", "amount": 10**6, "window": "lifetime", "per": ["tenant", "user"]},
        ])  # fmt: skip
        with connect(Path(folder)) as connection:
            began, cpu = time.perf_counter(), time.process_time()
            of.rebuild(connection)
            taken, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"rebuild from {entries:,} entries: {taken:.1f} s ({cpu:.1f} s of CPU), {of.counts()['buckets']:,} buckets")


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "process": lambda told: in_process(told.seconds),
    "http": lambda told: over_http(told.seconds),
    "redis": lambda told: through_redis(told.seconds),
    "many": lambda told: many(told.seconds),
    "served": lambda told: served(told.seconds),
    "rebuild": lambda told: rebuild(told.entries),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--entries", type=int, default=10_000_000)
    told = parser.parse_args()
    for part in told.parts:
        PARTS[part](told)
