"""Real senders on real sockets, and what they are told."""

import gzip
import http.client
import json
import os
import socket
import zlib
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from spanledger.ledger.connect import connect
from tests.collector.made import Running, call_span, calls, eventually_stored, running

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("receive") / "data") as started:
        yield started
        assert started.stop() == 0


def exporters(collector: Running) -> dict[str, SpanExporter]:
    grpc_address, traces = collector.addresses["grpc"], f"{collector.http}/v1/traces"
    return {
        "gRPC": GrpcExporter(endpoint=grpc_address, insecure=True, timeout=60),
        "gRPC with gzip": GrpcExporter(endpoint=grpc_address, insecure=True, timeout=60, compression=grpc.Compression.Gzip),
        "HTTP": HttpExporter(endpoint=traces, timeout=60),
        "HTTP with gzip": HttpExporter(endpoint=traces, timeout=60, compression=Compression.Gzip),
    }


@pytest.mark.parametrize("transport", ["gRPC", "gRPC with gzip", "HTTP", "HTTP with gzip"])
def test_opentelemetrys_own_exporters_deliver(collector: Running, transport: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporters(collector)[transport]))
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
    }  # fmt: skip
    with provider.get_tracer("test").start_as_current_span("chat gpt-4o", attributes=attributes) as span:
        span_id = f"{span.get_span_context().span_id:016x}"
    provider.shutdown()
    assert eventually_stored(collector.data, [span_id]) == [span_id]


def post(collector: Running, body: bytes, path: str = "/v1/traces", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{collector.http}{path}", content=body, headers={**PROTOBUF, **named}, timeout=60)


def test_json_delivers_and_is_answered_in_json(collector: Running) -> None:
    request = ExportTraceServiceRequest()
    span_id = call_span(request)
    body = MessageToDict(request)
    for spans in body["resourceSpans"][0]["scopeSpans"]:
        for span in spans["spans"]:  # OTLP/JSON spells ids in hex, unlike protobuf's own JSON
            span["traceId"], span["spanId"] = "0af7651916cd43dd8448eb211c80319c", span_id
    answer = post(collector, json.dumps(body).encode(), content_type="application/json; charset=utf-8")
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, {}, "application/json")
    assert eventually_stored(collector.data, [span_id]) == [span_id]


def test_a_call_is_visible_to_sql_soon_after_it_was_acknowledged(collector: Running) -> None:
    body, ids = calls(2)
    assert post(collector, body).status_code == 200
    assert sorted(eventually_stored(collector.data, ids)) == sorted(ids)
    with connect(collector.data) as connection:
        rows = connection.execute("select input_tokens, cost_state from calls where span_id in (?, ?)", ids).fetchall()
    assert rows == [(1000, "priced")] * 2


@pytest.mark.parametrize("path", ["/v1/traces", "/otlp/v1/traces", "/v1/traces/", "/v1/traces?x=1"])
def test_any_prefix_of_the_path_is_taken(collector: Running, path: str) -> None:
    body, ids = calls()
    answer = post(collector, body, path)
    assert (answer.status_code, ExportTraceServiceResponse.FromString(answer.content)) == (200, ExportTraceServiceResponse())
    assert eventually_stored(collector.data, ids) == ids


def test_a_body_in_chunks_and_a_gzip_of_two_members_are_taken(collector: Running) -> None:
    body, ids = calls(3)
    half = len(body) // 2
    compressed = gzip.compress(body[:half]) + gzip.compress(body[half:])
    answer = httpx.post(
        f"{collector.http}/v1/traces",
        content=iter([compressed[:100], compressed[100:]]),
        headers={**PROTOBUF, "Content-Encoding": "gzip"},
        timeout=60,
    )
    assert answer.status_code == 200
    assert sorted(eventually_stored(collector.data, ids)) == sorted(ids)


def test_requests_sent_ahead_on_one_connection_are_answered_in_order(collector: Running) -> None:
    bodies = [calls() for _ in range(5)]
    host, _, port = collector.addresses["http"].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        for number, (body, _) in enumerate(bodies):
            path = "/v1/traces" if number != 2 else "/elsewhere"
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
        statuses = []
        answers = connection.makefile("rb")
        for _ in bodies:
            statuses.append(int(answers.readline().split()[1]))
            length = 0
            while line := answers.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)
        answers.close()
    assert statuses == [200, 200, 404, 200, 200]
    ids = [ids[0] for number, (_, ids) in enumerate(bodies) if number != 2]
    assert sorted(eventually_stored(collector.data, ids)) == sorted(ids)


@cache
def refusals() -> dict[str, tuple[bytes, dict[str, str], int]]:
    body, _ = calls(20)
    return {
        "garbage": (b"\xff\x00garbage", {}, 400),
        "a truncated message": (body[:-7], {}, 400),
        "no JSON": (b'{"resourceSpans": [', {"content_type": "application/json"}, 400),
        "JSON that is a list": (b"[]", {"content_type": "application/json"}, 400),
        "JSON of another shape": (b'{"resourceSpans": 3}', {"content_type": "application/json"}, 400),
        "text that claims to be gzip": (body, {"content_encoding": "gzip"}, 400),
        "a gzip that ends too early": (gzip.compress(body)[:-9], {"content_encoding": "gzip"}, 400),
        "another content type": (body, {"content_type": "text/plain"}, 415),
        "another encoding": (body, {"content_encoding": "br"}, 415),
        "a gzip bomb": (bomb(), {"content_encoding": "gzip"}, 413),
    }


@cache
def bomb() -> bytes:
    """A gzip of half a gigabyte of zeros in half a megabyte."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([stream.compress(bytes(1024 * 1024)) for _ in range(512)]) + stream.flush()


@pytest.mark.parametrize("what", refusals())
def test_what_cannot_be_taken_is_refused_with_its_reason_over_http(collector: Running, what: str) -> None:
    body, headers, status = refusals()[what]
    answer = post(collector, body, **headers)
    assert answer.status_code == status
    if answer.headers["content-type"] == "application/json":
        message = answer.json()["message"]
    else:
        message = Status.FromString(answer.content).message
    assert len(message) > 10
    assert post(collector, calls()[0]).status_code == 200


def test_the_sender_is_told_which_spans_of_an_accepted_request_cannot_be_kept_and_why(collector: Running) -> None:
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    values = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": "7"}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
    good = {"traceId": trace_id, "spanId": span_id, "name": "chat", "attributes": attributes}
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [{**good, "traceId": "no hex"}, good]}]}]}
    answer = post(collector, json.dumps(request).encode(), content_type="application/json")
    assert answer.status_code == 200
    told = answer.json()["partialSuccess"]
    assert (told["rejectedSpans"], told["errorMessage"]) == ("1", "spans: traceId is not hex")
    assert eventually_stored(collector.data, [span_id]) == [span_id]


@pytest.mark.parametrize("what", ["garbage", "a truncated message", "a gzip bomb"])
def test_what_cannot_be_taken_is_refused_with_its_reason_over_grpc(collector: Running, what: str) -> None:
    body, _, _ = refusals()[what]
    codes = {"a gzip bomb": grpc.StatusCode.RESOURCE_EXHAUSTED}
    with grpc.insecure_channel(collector.addresses["grpc"]) as channel:  # type: ignore[no-untyped-call]
        export: Any = channel.unary_unary(EXPORT)
        with pytest.raises(grpc.RpcError) as raised:
            export(body)
        refused: Any = raised.value
        assert refused.code() is codes.get(what, grpc.StatusCode.INVALID_ARGUMENT)
        assert len(refused.details()) > 10
        assert export(calls()[0]) == b""


def test_a_body_of_too_many_bytes_is_refused_before_it_is_sent(collector: Running) -> None:
    host, _, port = collector.addresses["http"].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.putrequest("POST", "/v1/traces")
    connection.putheader("Content-Type", "application/x-protobuf")
    connection.putheader("Content-Length", str(65 * 1024 * 1024))
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.getheader("Connection")) == (413, "close")
    connection.close()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/traces", 405), ("POST", "/v1/nothing", 404)])
def test_what_is_not_an_export_is_told_so(collector: Running, method: str, path: str, status: int) -> None:
    assert httpx.request(method, f"{collector.http}{path}", timeout=60).status_code == status


def test_what_is_not_http_is_refused_and_cut_off(collector: Running) -> None:
    host, _, port = collector.addresses["http"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 400")


def test_an_empty_request_is_fine(collector: Running) -> None:
    assert post(collector, b"").status_code == 200


def test_logs_and_metrics_have_their_own_paths(collector: Running) -> None:
    assert post(collector, b"", "/v1/logs").status_code == 200
    assert post(collector, b"", "/v1/metrics").status_code == 200


def test_memory_stays_bounded_under_gzip_bombs(collector: Running) -> None:
    body = bomb()
    for _ in range(4):
        assert post(collector, body, content_encoding="gzip").status_code == 413
    status = Path(f"/proc/{collector.process.pid}/status").read_text()
    peak_kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    assert peak_kib < 900 * 1024
