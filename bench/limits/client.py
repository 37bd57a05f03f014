"""A client in a process of its own that asks as fast as it is answered."""

import asyncio
import multiprocessing
import os
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.limits.made import body_of


class Asked(NamedTuple):
    """How often a server was asked, how long answers took (in seconds, of some), and its CPU for each in microseconds."""

    answers: int
    taken: list[float]
    cpu: float


def asked(port: int, pid: int | None, seconds: float, connections: int = 16) -> Asked:
    """Ask the server of this process for so long."""
    context = multiprocessing.get_context("fork")
    count, taken, before = context.Value("i", 0), context.Queue(), _cpu_seconds(pid)
    client = context.Process(target=_ask, args=(port, seconds, connections, count, taken))
    client.start()
    times = taken.get(timeout=seconds + 60)
    client.join()
    return Asked(count.value, times, (_cpu_seconds(pid) - before) / count.value * 1e6)


def request(body: bytes) -> bytes:
    """A check as clients send it."""
    head = b"POST /api/checks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def _ask(port: int, seconds: float, connections: int, count: "Synchronized[int]", taken: Any) -> None:
    """Ask for so long over so many connections; `count` gets how often, `taken` how long some of them took."""

    async def connection(mine: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        times: list[float] = []
        while (start := time.perf_counter()) < end:
            writer.write(mine[len(times) % len(mine)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ValueError(head)
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - start)
        writer.close()
        all_times.extend(times)

    async def run() -> None:
        await asyncio.gather(*(connection(requests[number::connections]) for number in range(connections)))

    requests = [request(body_of(number)) for number in range(4_000)]
    all_times: list[float] = []
    end = time.perf_counter() + seconds
    uvloop.run(run())
    count.value = len(all_times)
    taken.put(all_times[:50_000])


def _cpu_seconds(pid: int | None) -> float:
    """User and system time of a process so far; on a busy machine it says more than the clock."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
