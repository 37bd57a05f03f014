"""The collector's own telemetry goes where it is told, and never into itself."""

import asyncio
from pathlib import Path

import pytest

from spanledger.collector.config import load
from spanledger.collector.itself import is_itself
from spanledger.collector.own_telemetry import destinations
from spanledger.collector.service import Collector
from tests.collector.made import calls
from tests.collector.test_journal import body

OWN = ["127.0.0.1:4317", "127.0.0.1:4318"]
ALL = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
ELSEWHERE = "http://elsewhere.invalid:4318"


def test_it_is_sent_only_where_a_variable_says() -> None:
    assert destinations({}, OWN) == {}
    assert destinations({ALL: ELSEWHERE}, OWN) == {signal: f"{ELSEWHERE}/v1/{signal}" for signal in ("traces", "metrics")}
    assert destinations({ALL: ELSEWHERE, "OTEL_SDK_DISABLED": "true"}, OWN) == {}
    assert set(destinations({ALL: ELSEWHERE, "OTEL_METRICS_EXPORTER": "none"}, OWN)) == {"traces"}
    assert destinations({TRACES: f"{ELSEWHERE}/x"}, OWN) == {"traces": f"{ELSEWHERE}/x"}, "metrics would go to this collector"
    over_grpc = {ALL: "elsewhere.invalid:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert set(destinations(over_grpc, OWN).values()) == {"elsewhere.invalid:4317"}


@pytest.mark.parametrize("url", ["http://localhost:4318", "http://127.0.0.1", "http://127.0.0.1:4317", "http://0.0.0.0:4318"])
def test_it_is_never_sent_to_an_own_address(url: str) -> None:
    assert destinations({ALL: url}, OWN) == {}
    assert set(destinations({ALL: url, TRACES: ELSEWHERE}, OWN)) == {"traces"}


def test_a_collector_knows_itself_by_every_address_of_its_machine() -> None:
    assert is_itself("127.0.0.2", 4318, ["0.0.0.0:4318"])
    assert is_itself("127.0.0.2", 4318, ["[::]:4318"])
    assert not is_itself("127.0.0.2", 4318, ["127.0.0.1:4318"]), "another process may listen there"
    assert not is_itself("192.0.2.1", 4318, ["0.0.0.0:4318"])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_traces_and_metrics_of_one_collector_arrive_at_another(tmp_path: Path, protocol: str) -> None:
    async def run() -> None:
        behind = Collector(load(None, {}, data=tmp_path / "behind", grpc_port=0, http_port=0, api_port=0))
        await behind.start()
        front = Collector(
            load(None, {}, data=tmp_path / "front", grpc_port=0, http_port=0, api_port=0),
            {ALL: f"http://{behind.addresses[protocol]}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol},
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
