"""OTLP requests for tests, and a collector as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.ledger.connect import connect

T = TypeVar("T")
SERVE = Path(__file__).with_name("serve.py")


def call_span(request: ExportTraceServiceRequest, *, input_tokens: int = 1000, output_tokens: int = 100) -> str:
    """Add one finished call to a request; gives its span id in hex."""
    scopes = request.resource_spans[0].scope_spans if request.resource_spans else request.resource_spans.add().scope_spans
    scope = scopes[0] if scopes else scopes.add()
    scope.scope.name = "made-for-a-test"
    now = time.time_ns()
    span_id = os.urandom(8)
    span = scope.spans.add(
        trace_id=os.urandom(16),
        span_id=span_id,
        name="chat gpt-4o",
        kind=3,
        start_time_unix_nano=now - 10**9,
        end_time_unix_nano=now,
    )
    for key, text in {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.response.id": f"chatcmpl-{span_id.hex()}",
    }.items():
        span.attributes.add(key=key).value.string_value = text
    for key, whole in {"gen_ai.usage.input_tokens": input_tokens, "gen_ai.usage.output_tokens": output_tokens}.items():
        span.attributes.add(key=key).value.int_value = whole
    return span_id.hex()


def calls(count: int = 1, *, prompt_bytes: int = 0) -> tuple[bytes, list[str]]:
    """A request in protobuf with so many calls, the last of them with a prompt of that size, and their span ids."""
    request = ExportTraceServiceRequest()
    ids = [call_span(request) for _ in range(count)]
    if prompt_bytes:
        request.resource_spans[-1].scope_spans[-1].spans[-1].attributes.add(key="gen_ai.input.messages").value.string_value = (
            "x" * prompt_bytes
        )
    return request.SerializeToString(), ids


class Running:
    """A collector process; `addresses` has `grpc` and `http`."""

    def __init__(self, data: Path, **options: Any) -> None:
        self.data = data
        command = [sys.executable, str(SERVE), str(data), json.dumps(options)]
        self._errors = (data.parent / f"{data.name}-{time.time_ns()}.log").open("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        assert self.process.stdout is not None
        try:
            line = self.process.stdout.readline()
            assert line, self.log()
        except BaseException:
            self.kill()
            raise
        self.addresses: dict[str, str] = json.loads(line)

    @property
    def http(self) -> str:
        return f"http://{self.addresses['http']}"

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def log(self) -> str:
        return Path(self._errors.name).read_text()

    def _ended(self) -> int:
        code = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()
        return code


@contextmanager
def running(data: Path, **options: Any) -> Generator[Running]:
    """A collector process over a data folder, killed at the end if it still runs."""
    collector = Running(data, **options)
    try:
        yield collector
    finally:
        if collector.process.poll() is None:
            collector.kill()


def eventually(found: Callable[[], T], wanted: Callable[[T], bool], *, seconds: float = 90.0) -> T:
    """Ask until the answer is what is wanted; the last answer otherwise."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not wanted(answer := found()) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)  # a look into the ledger takes 40 ms of CPU, which what is waited for needs
    return answer


def stored(data: Path) -> list[str]:
    """Span ids of all calls in the ledger, each as often as it is there."""
    with connect(data) as connection:
        return [row[0] for row in connection.execute("select span_id from entries where kind = 'call'").fetchall()]


def eventually_stored(data: Path, ids: list[str]) -> list[str]:
    """The stored span ids among `ids`, once all of them are there."""
    wanted = set(ids)
    return eventually(lambda: [one for one in stored(data) if one in wanted], lambda found: set(found) == wanted)
