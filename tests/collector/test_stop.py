"""SIGTERM: within its grace the collector ends with 0, and what it has acknowledged is in the ledger or in the journal."""

import asyncio
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from spanledger.collector.config import load
from spanledger.collector.service import Collector
from tests.collector.made import calls, eventually_stored, stored
from tests.collector.test_journal import body
from tests.collector.test_loop import collected

_HEADERS = {"Content-Type": "application/x-protobuf"}


@contextmanager
def _served(data: Path, config: str, wait: bool = True) -> Generator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`spanledger serve` itself, and what it announces; killed at the end if it still runs."""
    data.parent.joinpath("c.yaml").write_text(config)
    command = [sys.executable, "-m", "spanledger.cli", "serve", "--announce", "--data", str(data), "--config", "c.yaml"]
    ports = ["--grpc-port", "0", "--http-port", "0", "--api-port", "0"]
    with (data.parent / "log").open("a") as log:
        process = subprocess.Popen([*command, *ports], cwd=data.parent, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline()) if wait else {}
    finally:
        process.kill()
        process.communicate()


def _waiting(data: Path) -> int:
    with closing(sqlite3.connect(data / "journal.sqlite")) as journal:
        return int(journal.execute("select count(*) from bodies").fetchone()[0])


def test_without_any_grace_it_ends_with_0_and_the_next_start_posts_what_is_left(tmp_path: Path) -> None:
    data, acknowledged = tmp_path / "data", []
    with _served(data, "service: {shutdown_grace: 1ms}") as (process, said), httpx.Client(headers=_HEADERS, timeout=60) as client:
        for _ in range(10):
            request, ids = calls(100)
            assert client.post(f"http://{said['http']}/v1/traces", content=request, timeout=60).status_code == 200
            acknowledged += ids
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert collected(data).unfinished == []
    assert sorted(stored(data)) == sorted(acknowledged)
    assert _waiting(data) == 0


def test_a_backlog_that_takes_longer_than_the_grace_stays_in_the_journal_and_what_does_not_end_is_named(tmp_path: Path) -> None:
    batches = [calls(2) for _ in range(6)]
    entered, released = threading.Event(), threading.Event()

    async def run() -> Collector:
        collector = Collector(load(None, {}, data=tmp_path, grpc_port=0, http_port=0, api_port=0))
        await collector.start()
        post = collector.ledger.post

        def slowly(entries: pa.Table, mark: int | None) -> bool:
            entered.set()
            released.wait(100)
            return post(entries, mark)

        collector.ledger.post = slowly  # type: ignore[method-assign]
        for request, _ in batches:
            await collector.journal.append(body(request))
        await asyncio.to_thread(entered.wait, 60)
        await collector.stop(0.5)
        return collector

    collector = asyncio.run(run())
    assert "posting" in collector.unfinished
    assert _waiting(tmp_path) == len(batches)
    released.set()
    collector.loop._thread.join(60)
    assert collected(tmp_path).unfinished == []
    assert sorted(stored(tmp_path)) == sorted(one for _, ids in batches for one in ids)


def test_told_to_stop_before_it_is_ready_it_ends_with_0_and_keeps_the_journal(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with _served(data, "{}") as (process, said):
        request, ids = calls(20)
        for _ in range(3):
            assert (
                httpx.post(f"http://{said['http']}/v1/traces", content=request, headers=_HEADERS, timeout=60).status_code == 200
            )
    with _served(data, "{}", wait=False) as (process, _):
        deadline = time.monotonic() + 60
        while not _caught(process.pid, signal.SIGTERM) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert collected(data).unfinished == []
    assert sorted(stored(data)) == sorted(ids)


def test_it_stops_in_time_while_what_it_hands_on_to_and_tells_of_itself_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=64) as silent,
        socket.create_server(("127.0.0.1", 0), backlog=64) as told,
    ):
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = (
            f"exporters: {{otlp: {{endpoint: '{url}', timeout: 120s}}}}\n"
            "service: {shutdown_grace: 2s, pipelines: {traces: {exporters: [ledger, otlp]}}}\n"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{told.getsockname()[1]}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with _served(tmp_path / "data", config) as (process, said):
            request, ids = calls(1)
            assert (
                httpx.post(f"http://{said['http']}/v1/traces", content=request, headers=_HEADERS, timeout=60).status_code == 200
            )
            with silent.accept()[0], told.accept()[0]:
                assert eventually_stored(tmp_path / "data", ids) == ids
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
    assert stored(tmp_path / "data") == ids
    assert _waiting(tmp_path / "data") == 1


def _caught(pid: int, number: signal.Signals) -> bool:
    """Whether a process has said what it does on a signal."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
