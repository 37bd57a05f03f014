"""Everything received is handed on unchanged, however long the backend is away."""

import asyncio
import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.config import ConfigError, load
from spanledger.collector.receive.refused import Busy
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
        while front.journal.oldest() is not None:  # in the ledger, though the backend has not had it
            await asyncio.sleep(0.05)
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


def test_what_the_backend_refuses_for_good_is_counted_said_once_a_minute_and_does_not_stop_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        behind = Collector(load(None, {}, data=tmp_path / "behind", grpc_port=0, http_port=0, api_port=0))
        await behind.start()
        front = in_front(tmp_path, f"http://{behind.addresses['http']}", "http")
        await front.start()
        for _ in range(3):
            await front.journal.append(body(b"\xff\xff"))
        good, ids = calls(1)
        await front.journal.append(body(good))
        while front.journal.bodies:
            await asyncio.sleep(0.05)
        assert front.pass_through is not None
        assert (front.pass_through.progress.refused, front.pass_through.progress.delivered) == (3, 1)
        assert caplog.text.count("refuses body") == 1
        await front.stop()
        await behind.stop()
        assert stored(tmp_path / "behind") == ids

    asyncio.run(asyncio.wait_for(run(), 90))


class Backend(grpc.GenericRpcHandler):
    """A backend over gRPC with gRPC's usual bound of 4 MiB a message; answers what it is told to, then OK."""

    def __init__(self, *answers: Callable[[grpc.ServicerContext], None]) -> None:
        self.took: list[tuple[str, int]] = []
        self._answers = list(answers)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def export(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self._answers:
                self._answers.pop(0)(context)
            self.took.append((details.method, len(request)))
            return b""

        return grpc.unary_unary_rpc_method_handler(export)  # type: ignore[no-untyped-call, no-any-return]


def busy(context: grpc.ServicerContext) -> None:
    refused = Busy("later", retry_after_seconds=1)
    context.set_trailing_metadata((("grpc-status-details-bin", refused.status().SerializeToString()),))  # type: ignore[no-untyped-call]
    context.abort(refused.grpc_status, str(refused))  # type: ignore[no-untyped-call]


def test_what_the_backend_can_never_take_holds_nothing_up_and_only_what_is_named_goes_on(
    tmp_path: Path,
) -> None:
    backend = Backend(busy)
    server = grpc.server(ThreadPoolExecutor(2))  # type: ignore[no-untyped-call]
    server.add_generic_rpc_handlers((backend,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    async def run() -> None:
        front = in_front(tmp_path, f"127.0.0.1:{port}", "grpc")
        await front.start()
        assert front.pass_through is not None
        small = calls(1)[0]
        for request in (body(small), body(bytes(5 * 1024 * 1024)), body(b"", signal="logs"), body(small)):
            await front.journal.append(request)
        while front.journal.bodies:
            await asyncio.sleep(0.05)
        progress = front.pass_through.progress
        assert (progress.delivered, progress.refused, progress.retries) == (2, 1, 1)
        assert backend.took == [("/opentelemetry.proto.collector.trace.v1.TraceService/Export", len(small))] * 2
        await front.stop()

    try:
        asyncio.run(asyncio.wait_for(run(), 90))
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_certificate_of_the_backend_that_is_none_is_named_at_the_start(tmp_path: Path, protocol: str) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    endpoint = "https://backend.invalid" if protocol == "http" else "backend.invalid:4317"
    tls = f"tls: {{ca_file: '{tmp_path / 'ca.pem'}'}}"
    (tmp_path / "c.yaml").write_text(
        f"exporters: {{otlp: {{endpoint: '{endpoint}', protocol: {protocol}, {tls}}}}}\n"
        "service: {pipelines: {traces: {exporters: [ledger, otlp]}}}\n"
    )

    async def run() -> None:
        collector = Collector(load(tmp_path / "c.yaml", {}, data=tmp_path / "data", grpc_port=0, http_port=0, api_port=0))
        with pytest.raises(ConfigError, match=r"exporters\.otlp\.tls\.ca_file: .*ca\.pem"):
            await collector.start()

    asyncio.run(run())
