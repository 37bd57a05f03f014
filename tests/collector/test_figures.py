"""What `/metrics` says about intake."""

import asyncio
from pathlib import Path

import httpx
from prometheus_client import generate_latest

from spanledger.collector.config import load
from spanledger.collector.service import Collector
from tests.collector.made import calls


def test_the_figures_count_what_came_what_was_refused_and_what_was_posted(tmp_path: Path) -> None:
    async def run() -> str:
        collector = Collector(load(None, {}, data=tmp_path, grpc_port=0, http_port=0, api_port=0))
        assert collector.ready() is not None
        await collector.start()
        assert collector.ready() is None
        headers = {"Content-Type": "application/x-protobuf"}
        async with httpx.AsyncClient(base_url=f"http://{collector.addresses['http']}", headers=headers) as client:
            assert (await client.post("/v1/traces", content=calls(3)[0])).status_code == 200
            assert (await client.post("/v1/traces", content=b"\xff")).status_code == 400
        while not collector.loop.progress.entries:
            await asyncio.sleep(0.02)
        collector.maintenance.round()
        figures = generate_latest(collector.registry).decode()
        await collector.stop()
        assert collector.ready() is not None
        return figures

    figures = asyncio.run(run())
    for line in (
        'spanledger_received_bodies_total{signal="traces"} 1.0',
        'spanledger_refused_requests_total{reason="Malformed"} 1.0',
        'spanledger_entries_total{kind="call"} 3.0',
        "spanledger_seen_records_total 3.0",
        "spanledger_ledger_files 1.0",
        "spanledger_journal_set_aside_bodies 0.0",
        'spanledger_step_seconds_total{step="decode"}',
    ):
        assert line in figures, line
