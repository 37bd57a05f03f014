"""The OTLP exporter that the `OTEL_*` variables ask for, which says once what the SDK's says each time."""

import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanledger.instrumentation.outbox import Outbox, listens

logger = logging.getLogger("spanledger.instrumentation")

ENDPOINT = "http://127.0.0.1:4318"


def outbox() -> Outbox:
    """Where our own tracer provider puts its spans."""
    return Outbox(Reporting(_otlp()), lambda: listens(_endpoint() or ENDPOINT))


class Reporting(SpanExporter):
    """Another exporter, and in the log whether what it sends arrives: once each time that changes."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._reached = True

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        with _hushed():
            result = self._inner.export(spans)
        reached = result is SpanExportResult.SUCCESS
        if reached and not self._reached:
            logger.info("telemetry arrives again")
        elif not reached and self._reached:
            logger.warning("telemetry does not arrive at its OTLP endpoint; calls go on, and what was metered is kept to be sent")
        self._reached = reached
        return result

    def shutdown(self) -> None:
        with _hushed():
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _otlp() -> SpanExporter:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    if protocol.strip() == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
        except ImportError:
            logger.warning("OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but its exporter is not installed; using OTLP/HTTP")
        else:
            return OverGrpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=None if _endpoint() else ENDPOINT + "/v1/traces")


def _endpoint() -> str | None:
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")


class _hushed:
    """Keeps the exporter's own log from repeating on this thread what `_Health` says once."""

    def __enter__(self) -> None:
        _quiet.on = True
        for name in _NOISY:
            log = logging.getLogger(name)
            if _not_hushed not in log.filters:
                log.addFilter(_not_hushed)

    def __exit__(self, *_: object) -> None:
        _quiet.on = False


_NOISY = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "urllib3.connectionpool",
)
_quiet = threading.local()


def _not_hushed(record: logging.LogRecord) -> bool:
    return not getattr(_quiet, "on", False)
