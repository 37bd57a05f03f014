"""Everything received is handed on unchanged, however long the backend is away."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.config import load
from spanledger.collector.service import Collector
from tests.collector.made import calls, stored
from tests.collector.test_journal import body
from tests.ports import free_port


def in_front(folder: Path, endpoint: str, protocol: str) -> Collector:
    path = folder / "front.yaml"
    path.write_text(
        f"exporters: {{otlp: {{endpoint: '{endpoint}', protocol: {protocol}, tls: {{insecure: true}}}}}}\n"
        "service: {pipelines: {traces: {exporters: [ledger, otlp]}}}\n"
    )
    return Collector(load(path, {}, data=folder / "front", grpc_port=0, http_port=0, api_port=0))


def as_json(request: bytes) -> bytes:
    found = MessageToDict(ExportTraceServiceRequest.FromString(request))
    for spans in found["resourceSpans"][0]["scopeSpans"]:
        for span, plain in zip(
            spans["spans"], ExportTraceServiceRequest.FromString(request).resource_spans[0].scope_spans[0].spans, strict=True
        ):
            span["traceId"], span["spanId"] = plain.trace_id.hex(), plain.span_id.hex()
    return json.dumps(found).encode()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_backend_that_is_away_at_first_gets_everything_once_it_is_there(tmp_path: Path, protocol: str) -> None:
    port = free_port()
    (plain, first), (packed, second), (spelled, third) = calls(3), calls(4), calls(2)

    async def run() -> None:
        front = in_front(tmp_path, f"http://127.0.0.1:{port}" if protocol == "http" else f"127.0.0.1:{port}", protocol)
        await front.start()
        await front.journal.append(body(plain))
        await front.journal.append(body(gzip.compress(packed), compression="gzip"))
        await front.stop()
        assert front.journal.bodies == 2, "what was not handed on must stay in the journal"
        ports = {"http_port": port, "grpc_port": 0} if protocol == "http" else {"http_port": 0, "grpc_port": port}
        behind = Collector(load(None, {}, data=tmp_path / "behind", api_port=0, **ports))
        await behind.start()
        front = in_front(tmp_path, f"http://127.0.0.1:{port}" if protocol == "http" else f"127.0.0.1:{port}", protocol)
        await front.start()
        await front.journal.append(body(as_json(spelled), encoding="json"))
        while front.journal.bodies:
            await asyncio.sleep(0.05)
        await front.stop()
        await behind.stop()

    asyncio.run(asyncio.wait_for(run(), 90))
    ids = sorted(first + second + third)
    assert sorted(stored(tmp_path / "behind")) == ids
    assert sorted(stored(tmp_path / "front")) == ids, "the front must not read twice what it keeps for the backend"


def test_what_the_backend_refuses_for_good_is_counted_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    async def run() -> None:
        behind = Collector(load(None, {}, data=tmp_path / "behind", grpc_port=0, http_port=0, api_port=0))
        await behind.start()
        front = in_front(tmp_path, f"http://{behind.addresses['http']}", "http")
        await front.start()
        await front.journal.append(body(b"\xff\xff"))
        good, ids = calls(1)
        await front.journal.append(body(good))
        while front.journal.bodies:
            await asyncio.sleep(0.05)
        assert front.pass_through is not None
        assert (front.pass_through.progress.refused, front.pass_through.progress.delivered) == (1, 1)
        await front.stop()
        await behind.stop()
        assert stored(tmp_path / "behind") == ids

    asyncio.run(asyncio.wait_for(run(), 90))
