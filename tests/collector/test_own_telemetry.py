"""The collector's own telemetry goes where it is told, and never into itself."""

import asyncio
from pathlib import Path

import pytest

from spanledger.collector.config import load
from spanledger.collector.own_telemetry import wanted
from spanledger.collector.service import Collector
from tests.collector.made import calls
from tests.collector.test_journal import body


def test_it_is_sent_only_where_a_variable_says_and_never_to_an_own_address() -> None:
    own = ["127.0.0.1:4317", "127.0.0.1:4318"]
    assert not wanted({}, own)
    assert wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318"}, own)
    assert not wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, own)
    assert not wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1"}, own)
    assert not wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318", "OTEL_SDK_DISABLED": "true"}, own)


def test_traces_and_metrics_of_one_collector_arrive_at_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        behind = Collector(load(None, {}, data=tmp_path / "behind", grpc_port=0, http_port=0, api_port=0))
        await behind.start()
        endpoint = f"http://{behind.addresses['http']}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        front = Collector(
            load(None, {}, data=tmp_path / "front", grpc_port=0, http_port=0, api_port=0),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        )
        await front.start()
        await front.journal.append(body(calls(1)[0]))
        while not front.loop.progress.batches:
            await asyncio.sleep(0.02)
        await front.stop()
        tally = behind._accept.tally if behind._accept else None
        assert tally is not None
        assert tally.accepted.get("traces", 0) >= 1
        assert tally.accepted.get("metrics", 0) >= 1
        await behind.stop()

    asyncio.run(run())
