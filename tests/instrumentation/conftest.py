import os
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanledger.cli.provider_stand_in import StandIn, start
from spanledger.instrumentation import instrument, uninstrument


class Spans:
    """The calls that were metered since the test began."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def calls(self) -> list[ReadableSpan]:
        return [span for span in self.all() if span.attributes and "gen_ai.operation.name" in span.attributes]

    def one(self) -> ReadableSpan:
        """The only one there is."""
        calls = self.calls()
        assert len(calls) == 1, [(span.name, dict(span.attributes or {})) for span in calls]
        return calls[0]

    def clear(self) -> None:
        self.exporter.clear()


@pytest.fixture(scope="session")
def _exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture(scope="session")
def provider() -> Iterator[StandIn]:
    with start() as stand_in:
        yield stand_in


@pytest.fixture
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("SPANLEDGER_", "OTEL_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SPANLEDGER_RAISE_INTERNAL_ERRORS", "1")
    return monkeypatch


@pytest.fixture
def spans(_exporter: InMemorySpanExporter, clean_environ: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Metering is on, and what it emits is gathered."""
    _exporter.clear()
    instrument()
    yield Spans(_exporter)
    uninstrument()
    _exporter.clear()
