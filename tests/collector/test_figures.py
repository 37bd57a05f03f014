"""What `/metrics` says about intake and about the upkeep of the ledger."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest

from spanledger.collector.config import load
from spanledger.collector.service import Collector
from spanledger.ledger import log, rolling
from spanledger.ledger.keeper import alone
from spanledger.ledger.table import Ledger
from tests.collector.made import calls
from tests.ledger.made import entries, entry


def test_the_figures_count_what_came_what_was_refused_and_what_was_posted(tmp_path: Path) -> None:
    async def run() -> str:
        collector = Collector(load(None, {}, data=tmp_path, grpc_port=0, http_port=0, api_port=0))
        assert collector.ready() is not None
        await collector.start()
        assert collector.ready() is None
        headers = {"Content-Type": "application/x-protobuf"}
        async with httpx.AsyncClient(base_url=f"http://{collector.addresses['http']}", headers=headers, timeout=60) as client:
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


def test_the_figures_tell_what_was_put_together_dropped_and_summed_up_and_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CHECKPOINT_COMMITS", 5)
    monkeypatch.setattr(rolling, "WORTH_ROWS", 1)
    now = datetime.now(UTC)
    ledger = Ledger.open(tmp_path / "data" / "entries")
    for number in range(9):
        ledger.post(entries(entry(f"{number:032x}", occurred_at=now)), mark=number + 1)
    ledger.post(entries(entry("a" * 32, occurred_at=now - timedelta(days=90))), mark=10)
    (tmp_path / "c.yaml").write_text("exporters: {ledger: {retention: 30d}}\n")

    async def run() -> tuple[str, str]:
        collector = Collector(load(tmp_path / "c.yaml", {}, data=tmp_path / "data", grpc_port=0, http_port=0, api_port=0))
        await collector.start()
        collector.maintenance.stop()
        collector.maintenance._stopping.clear()
        collector.maintenance.round()
        kept = generate_latest(collector.registry).decode()
        Path(collector.ledger.files()[0]).unlink()
        with alone(tmp_path / "data" / "entries"):
            collector.maintenance.round()
        elsewhere = generate_latest(collector.registry).decode()
        assert "spanledger_maintenance_elsewhere 1.0" in elsewhere
        collector.maintenance.round()
        damaged = generate_latest(collector.registry).decode()
        await collector.stop()
        return kept, damaged

    kept, damaged = asyncio.run(run())
    for line in (
        "spanledger_ledger_files 1.0",
        "spanledger_compactions_total 1.0",
        "spanledger_replaced_files 10.0",
        "spanledger_removed_files_total 0.0",
        "spanledger_expired_files_total 1.0",
        "spanledger_rolled_up_files_total 1.0",
        "spanledger_log_checkpoints_total 1.0",
        "spanledger_removed_log_entries_total 0.0",
        "spanledger_damaged_files 0.0",
        "spanledger_maintenance_elsewhere 0.0",
        "spanledger_maintenance_failing 0.0",
        *(
            f'spanledger_maintenance_seconds_total{{step="{step}"}}'
            for step in ("compaction", "rollup", "log", "retention", "sweep")
        ),
    ):
        assert line in kept, line
    assert "spanledger_damaged_files 1.0" in damaged
