"""How fast the collector takes telemetry in: spans per second that are in the ledger afterwards, every one counted.

    .venv/bin/python bench/ingest.py [--spans 400000] [--transport grpc http] [--rate N] [--content 4096] [--model-share 1.0]

Four senders in processes of their own send batches of 512 spans with 18 attributes (about 800 bytes a span), each
waiting for its acknowledgement before it sends the next. The floor is protobuf parsing alone (upb), in the same run.
"""

import argparse
import asyncio
import gc
import http.client
import json
import multiprocessing
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

BATCH = 512
SENDERS = 4
#: Between two looks into the ledger: a look takes some 30 ms of a core, which the collector could have used.
_LOOK_SECONDS = 0.2
_GRPC_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Template:
    """A request whose ids are exchanged in place: building messages anew would cost more than the collector does."""

    def __init__(self, *, content: int, model_share: float, sender: int) -> None:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        _text(resource.resource, "service.name", f"bench-{sender}")
        of_models, of_web = resource.scope_spans.add(), resource.scope_spans.add()
        of_models.scope.name = "opentelemetry.instrumentation.openai_v2"
        of_web.scope.name = "opentelemetry.instrumentation.asgi"
        every = round(1 / model_share) if model_share else 0
        now = time.time_ns()
        self.models = 0
        for index in range(BATCH):
            about_a_model = bool(every) and index % every == 0
            self.models += about_a_model
            span = (of_models if about_a_model else of_web).spans.add(
                trace_id=b"TRACEID!" + index.to_bytes(8, "big"), span_id=b"SPAN" + index.to_bytes(4, "big"),
                parent_span_id=b"PARENT!!", name="chat gpt-4o" if about_a_model else "GET /orders/{id}", kind=3,
                start_time_unix_nano=now + index, end_time_unix_nano=now + 1_200_000_000 + index,
            )  # fmt: skip
            (_model_call if about_a_model else _web_call)(span, index, sender)
            if content and about_a_model:
                _text(span, "gen_ai.input.messages", ("x" * 61 + f"{index:03}") * (content // 64))
        plain = request.SerializeToString()
        self._bytes = np.frombuffer(plain, dtype=np.uint8)
        self._traces = _places(16, (plain.index(b"TRACEID!" + index.to_bytes(8, "big")) for index in range(BATCH)))
        self._spans = _places(8, (plain.index(b"SPAN" + index.to_bytes(4, "big")) for index in range(BATCH)))
        # Exact copies of a call would be told to be one.
        self._times = _places(8, (plain.index((now + index).to_bytes(8, "little")) for index in range(BATCH)))
        found = (plain.find(f"RESPONSE{index:016}".encode()) for index in range(BATCH))
        self._responses = _places(24, (at for at in found if at >= 0))

    def body(self) -> bytes:
        """The request with ids that nobody has had."""
        made = self._bytes.copy()
        made[self._traces] = np.frombuffer(os.urandom(16 * BATCH), dtype=np.uint8).reshape(-1, 16)
        made[self._spans] = np.frombuffer(os.urandom(8 * BATCH), dtype=np.uint8).reshape(-1, 8)
        fresh = os.urandom(12 * len(self._responses)).hex().encode()
        made[self._responses] = np.frombuffer(fresh, dtype=np.uint8).reshape(-1, 24)
        began = time.time_ns() - 3_000_000_000 + 1000 * np.arange(BATCH)
        made[self._times] = began.astype("<i8").view(np.uint8).reshape(-1, 8)
        return made.tobytes()


def _places(width: int, found: Iterable[int]) -> npt.NDArray[np.int64]:
    """Where the bytes of each field lie, a row for each field."""
    return np.fromiter(found, dtype=np.int64)[:, None] + np.arange(width)


def _text(on: Any, key: str, value: str) -> None:
    on.attributes.add(key=key).value.string_value = value


def _whole(on: Any, key: str, value: int) -> None:
    on.attributes.add(key=key).value.int_value = value


def _model_call(span: Any, index: int, sender: int) -> None:
    _text(span, "gen_ai.operation.name", "chat")
    _text(span, "gen_ai.provider.name", "openai")
    _text(span, "gen_ai.request.model", "gpt-4o")
    _text(span, "gen_ai.response.model", "gpt-4o-2024-08-06")
    _text(span, "gen_ai.response.id", f"chatcmpl-RESPONSE{index:016}")
    _text(span, "gen_ai.conversation.id", f"conv-{index % 37:08}")
    _text(span, "gen_ai.agent.name", f"agent-{index % 7}")
    _text(span, "spanledger.tenant", f"tenant-{index % 50:03}")
    _text(span, "spanledger.project", f"project-{index % 5}")
    _text(span, "user.id", f"user-{(index * 31 + sender) % 400:05}")
    _text(span, "server.address", "api.openai.com")
    _text(span, "openai.request.service_tier", "default")
    _text(span, "gen_ai.output.type", "text")
    _text(span, "spanledger.tag.feature", f"feature-{index % 11}")
    _whole(span, "gen_ai.usage.input_tokens", 1000 + index)
    _whole(span, "gen_ai.usage.output_tokens", 50 + index % 200)
    _whole(span, "gen_ai.usage.cache_read.input_tokens", index % 500)
    _whole(span, "server.port", 443)


def _web_call(span: Any, index: int, sender: int) -> None:
    for number in range(12):
        _text(span, f"http.request.header.x-{number}", f"value {index} {sender} {number} of some length")
    for number in range(6):
        _whole(span, f"app.counter.{number}", index * number)


def send(number: int, args: argparse.Namespace, transport: str, target: str, start: Barrier, out: Any) -> None:
    """One sender: its share of the batches, as fast as they are acknowledged, or at its share of a rate."""
    template = Template(content=args.content, model_share=args.model_share, sender=number)
    batches = max(1, args.spans // BATCH // SENDERS)
    if transport == "grpc":
        channel = grpc.insecure_channel(target)  # type: ignore[no-untyped-call]
        export = channel.unary_unary(_GRPC_METHOD)
        export(b"")
        deliver = export
    else:
        host, _, port = target.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port))

        def deliver(body: bytes) -> None:
            connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status

    start.wait()
    began = time.perf_counter()
    waits = []
    for batch in range(batches):
        body = template.body()
        sent = time.perf_counter()
        if args.rate:  # each in its turn; a wait counts from when the batch was due, whether or not the one before was answered
            sent = began + (batch * SENDERS + number) * BATCH / args.rate
            time.sleep(max(0.0, sent - time.perf_counter()))
        deliver(body)
        waits.append(time.perf_counter() - sent)
    out.put((batches * template.models, batches * BATCH, waits))


async def serve(data: Path) -> None:
    """The collector alone, as `spanledger serve` runs it, until standard input closes."""
    from spanledger.cli.libraries import prepare, started

    prepare()
    from spanledger.collector.config import load
    from spanledger.collector.service import Collector

    collector = Collector(load(None, {}, data=data, grpc_port=0, http_port=0, api_port=0))
    await collector.start()
    started()
    gc.set_threshold(20_000, 20, 50)
    print(json.dumps(collector.addresses), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await collector.stop()
    print(json.dumps(collector.loop.progress.seconds), flush=True)


def measure(args: argparse.Namespace, transport: str) -> dict[str, Any]:
    """One run against a collector of its own."""
    from spanledger.ledger.connect import connect, refresh

    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        command = [sys.executable, __file__, "--serve", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as collector:
            assert collector.stdin is not None
            assert collector.stdout is not None
            target = json.loads(collector.stdout.readline())[transport]
            context = multiprocessing.get_context("spawn")
            start, out = context.Barrier(SENDERS + 1), context.Queue()
            senders = [context.Process(target=send, args=(n, args, transport, target, start, out)) for n in range(SENDERS)]
            for sender in senders:
                sender.start()
            start.wait()
            before, began = _cpu_seconds(collector.pid), time.perf_counter()
            found: list[tuple[int, int, list[float]]] = []
            while len(found) < SENDERS:
                try:
                    found.append(out.get(timeout=1))
                except queue.Empty:
                    assert all(sender.exitcode in (None, 0) for sender in senders), "a sender failed"
            acknowledged_seconds = time.perf_counter() - began
            expected, sent = sum(models for models, _, _ in found), sum(spans for _, spans, _ in found)
            connection = connect(folder)
            stored = 0
            changed = began
            while stored < expected and time.perf_counter() - changed < 60:
                refresh(connection)
                before_it = stored
                stored = connection.execute("select coalesce(sum(calls), 0)::bigint from entries").fetchone()[0]  # type: ignore[index]
                changed = changed if stored == before_it else time.perf_counter()
                if stored < expected:
                    time.sleep(_LOOK_SECONDS)
            stored_seconds = time.perf_counter() - began
            cpu = _cpu_seconds(collector.pid) - before
            resident = _peak_mib(collector.pid)
            states = dict(connection.execute("select cost_state, count(*) from entries group by all").fetchall())
            distinct = connection.execute("select count(distinct entry_id) from entries where kind = 'call'").fetchone()[0]  # type: ignore[index]
            kinds = connection.execute("select kind, rule, count(*) from entries group by all").fetchall()
            assert stored == expected == distinct, f"sent {expected} calls, {stored} stored, {distinct} distinct: {kinds}"
            size = sum(path.stat().st_size for path in Path(folder, "entries").rglob("*.parquet"))
            collector.stdin.close()
            steps = json.loads(collector.stdout.readline())
            collector.wait()
        for sender in senders:
            sender.join()
    waits = sorted(wait for _, _, each in found for wait in each)
    return {
        "transport": transport,
        "spans": sent,
        "acknowledged_per_s": round(sent / acknowledged_seconds),
        "stored_per_s": round(sent / stored_seconds),
        "ack_p50_ms": round(1000 * statistics.median(waits), 1),
        "ack_p99_ms": round(1000 * waits[int(len(waits) * 0.99) - 1], 1),
        "cpu_s_per_million": round(1e6 * cpu / sent, 1),
        "peak_rss_mib": resident,
        "bytes_per_entry": round(size / expected, 1),
        "states": states,
        "seconds_by_step": {step: round(seconds, 2) for step, seconds in steps.items()},
    }


def floor(args: argparse.Namespace) -> float:
    """Spans a second that one core parses (upb) and does nothing else with."""
    body = Template(content=args.content, model_share=args.model_share, sender=0).body()
    runs = []
    for _ in range(40):
        began = time.perf_counter()
        ExportTraceServiceRequest.FromString(body)
        runs.append(time.perf_counter() - began)
    return BATCH / statistics.median(runs)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) // 1024


def main() -> None:
    """Print one line of JSON for each transport, then the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=400_000)
    parser.add_argument("--transport", nargs="+", default=["grpc", "http"], choices=["grpc", "http"])
    parser.add_argument("--rate", type=int, default=0, help="spans a second over all senders; 0: as fast as acknowledged")
    parser.add_argument("--content", type=int, default=0, help="bytes of content in each span")
    parser.add_argument("--model-share", type=float, default=1.0, help="share of spans that are about a model")
    parser.add_argument("--dir", default=None, help="where the data folder is made")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(args.serve))
        return
    alone = floor(args)
    for transport in args.transport:
        found = measure(args, transport)
        found["of_parsing_floor"] = round(found["stored_per_s"] / alone, 3)
        print(json.dumps(found), flush=True)
    print(json.dumps({"floor_parse_spans_per_s_core": round(alone)}))


if __name__ == "__main__":
    main()
