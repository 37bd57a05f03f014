"""What was metered is kept until it has arrived: slow, absent, refusing and late collectors."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation.outbox import Outbox
from tests.instrumentation.otlp_sink import OtlpSink
from tests.instrumentation.test_around import run


class Collector(SpanExporter):
    """Takes what it is sent when it is `there`; `seconds` is how long that takes."""

    def __init__(self, *, there: bool = True, seconds: float = 0.0) -> None:
        self.there = there
        self.seconds = seconds
        self.names: list[str] = []
        self.attempts = 0
        self.raises: Exception | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.attempts += 1
        time.sleep(self.seconds)
        if self.raises is not None:
            raise self.raises
        if not self.there:
            return SpanExportResult.FAILURE
        self.names.extend(span.name for span in spans)
        return SpanExportResult.SUCCESS


def _outbox(environ: pytest.MonkeyPatch, collector: Collector, *, reachable: bool = True, **variables: str) -> tuple[Outbox, Any]:
    environ.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    for name, value in variables.items():
        environ.setenv(name, value)
    outbox = Outbox(collector, lambda: reachable)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    return outbox, provider.get_tracer("test")


def _until(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_exit_waits_for_a_collector_that_is_slow(clean_environ: pytest.MonkeyPatch) -> None:
    collector = Collector(seconds=0.5)
    outbox, tracer = _outbox(clean_environ, collector, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2")
    for number in range(7):
        tracer.start_span(str(number)).end()
    outbox.shutdown()
    assert collector.names == [str(number) for number in range(7)]


def test_what_did_not_arrive_is_sent_again_in_order_when_the_collector_is_back(clean_environ: pytest.MonkeyPatch) -> None:
    collector = Collector(there=False)
    outbox, tracer = _outbox(clean_environ, collector, reachable=False)
    for number in range(5):
        tracer.start_span(str(number)).end()
    _until(lambda: collector.attempts >= 3)
    collector.there = True
    _until(lambda: len(collector.names) == 5)
    assert collector.names == ["0", "1", "2", "3", "4"]
    outbox.shutdown()


def test_the_exit_does_not_wait_where_nothing_listens_and_says_what_is_lost(
    clean_environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(there=False)
    outbox, tracer = _outbox(clean_environ, collector, reachable=False)
    for _ in range(3):
        tracer.start_span("x").end()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        outbox.shutdown()
    assert time.monotonic() - began < 20
    assert "3 calls could not be sent before the exit" in caplog.text


def test_a_batch_that_a_present_collector_never_takes_does_not_block_the_others(
    clean_environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(there=False)
    outbox, tracer = _outbox(clean_environ, collector, OTEL_BSP_SCHEDULE_DELAY="1")
    tracer.start_span("poison").end()
    with caplog.at_level(logging.WARNING):
        _until(lambda: collector.attempts >= 5)
        _until(lambda: "telemetry is lost" in caplog.text)
    collector.there = True
    tracer.start_span("good").end()
    _until(lambda: collector.names == ["good"])
    outbox.shutdown()


def test_when_it_is_full_the_oldest_go_and_the_log_says_so_once(
    clean_environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(there=False)
    outbox, tracer = _outbox(clean_environ, collector, reachable=False, OTEL_BSP_MAX_QUEUE_SIZE="10")
    with caplog.at_level(logging.WARNING):
        for number in range(30):
            tracer.start_span(str(number)).end()
    assert caplog.text.count("telemetry is lost") == 1
    # What is on its way may have been taken from the queue before it was full; what is after that was not.
    tried = collector.attempts
    _until(lambda: collector.attempts >= tried + 2)
    collector.there = True
    _until(lambda: collector.names == [str(number) for number in range(20, 30)])
    outbox.shutdown()


def test_an_exporter_that_raises_does_not_end_the_outbox(clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.delenv("SPANLEDGER_RAISE_INTERNAL_ERRORS")
    collector = Collector()
    collector.raises = ZeroDivisionError()
    outbox, tracer = _outbox(clean_environ, collector)
    tracer.start_span("bad").end()
    _until(lambda: collector.attempts >= 1)
    collector.raises = None
    tracer.start_span("good").end()
    _until(lambda: "good" in collector.names)
    outbox.shutdown()


def test_many_threads_lose_nothing(clean_environ: pytest.MonkeyPatch) -> None:
    collector = Collector()
    outbox, tracer = _outbox(clean_environ, collector, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="16")

    def work(name: str) -> None:
        for number in range(200):
            tracer.start_span(f"{name}-{number}").end()

    threads = [threading.Thread(target=work, args=(str(place),)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.shutdown()
    assert sorted(collector.names) == sorted(f"{place}-{number}" for place in range(6) for number in range(200))


def test_a_process_that_ends_at_once_waits_for_a_slow_collector(provider: StandIn) -> None:
    with OtlpSink(seconds=3.0) as sink:
        run("import spanledger.auto\nfor _ in range(5): ask()", provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
        assert len(sink.spans) == 5
