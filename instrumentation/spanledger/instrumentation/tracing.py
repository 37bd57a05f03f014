"""Where spans go: the application's tracer provider when it has one, else one of our own over OTLP/HTTP."""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation.call import end_open_calls
from spanledger.instrumentation.metrics import Metrics

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger("spanledger.instrumentation")

SCOPE = "spanledger.instrumentation"
SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
ENDPOINT = "http://127.0.0.1:4318"

#: How long the exit may wait for the last spans: when the collector was there last time, and when it was not.
EXIT_SECONDS = 5.0
EXIT_SECONDS_AWAY = 0.5


class Tracing:
    """Gives the tracer for a call. The application's provider may be set before or after the first call.

    Our own provider is private: it is never made the global one, so an application that sets its own later is not
    told that overriding is not allowed.
    """

    def __init__(self) -> None:
        self.disabled = False
        self.keeps_sampled_out = True
        self._lock = threading.Lock()
        self._provider: object = None
        self._tracer: Tracer | None = None
        self._own: TracerProvider | None = None
        self._health = _Health()
        self.metrics = Metrics()

    def start_span(self, name: str, attributes: dict[str, Any]) -> "tuple[Span, Context]":
        """A span for a call, and the context for the client's own work inside it.

        Where the application's sampler drops the trace, the call still goes out whole, by our own provider: cost does not
        vanish when traces are sampled. The context is then the one that the sampler made.
        """
        from opentelemetry.trace import SpanKind, set_span_in_context

        span = self.tracer().start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        context = set_span_in_context(span)
        if not span.is_recording() and self.keeps_sampled_out and hasattr(self._provider, "sampler"):
            own = self._own_provider().get_tracer(SCOPE, version(), schema_url=SCHEMA)
            span = own.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        return span, context

    def tracer(self) -> "Tracer":
        """Costs one look at the global provider when nothing has changed."""
        from opentelemetry import trace

        provider: object = trace.get_tracer_provider() if not self.disabled else None
        if provider is self._provider and self._tracer is not None:
            return self._tracer
        with self._lock:
            if provider is None:
                # For a call that emits nothing, but has a hold to settle.
                self._tracer = trace.NoOpTracer()
            elif isinstance(provider, trace.ProxyTracerProvider):
                self._tracer = self._own_provider().get_tracer(SCOPE, version(), schema_url=SCHEMA)
            else:
                self._tracer = trace.get_tracer(SCOPE, version(), schema_url=SCHEMA)
            self._provider = provider
            # Registered again with each provider: exit hooks run backwards, and ours must run before its shutdown.
            atexit.unregister(self.finish)
            atexit.register(self.finish)
            return self._tracer

    def finish(self) -> None:
        """The interpreter exits: end open calls and send what is left, within a bounded time."""
        end_open_calls()
        own, self._own, self._tracer, self._provider = self._own, None, None, None
        if own is not None:
            _shutdown(own, EXIT_SECONDS if self._health.reached else EXIT_SECONDS_AWAY)

    def forget(self) -> None:
        """In a child process: the parent's exporter may have been in the middle of something, its locks held for good."""
        self._lock = threading.Lock()
        self._provider = self._tracer = self._own = None
        self._health = _Health()

    def flush(self) -> None:
        """Send what our own provider holds."""
        if self._own is not None:
            self._own.force_flush()

    def _own_provider(self) -> "TracerProvider":
        if self._own is None:
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON

            # Only calls to models come this way, and each of them is money: none is sampled out.
            provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
            if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "none":
                delay = None if os.environ.get("OTEL_BSP_SCHEDULE_DELAY") else 1_000.0
                provider.add_span_processor(BatchSpanProcessor(_exporter(self._health), schedule_delay_millis=delay))
            self._own = provider
        return self._own


def version() -> str:
    """The installed version, read once."""
    global _version
    if _version is None:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            _version = installed("spanledger")
        except PackageNotFoundError:
            _version = "0"
    return _version


_version: str | None = None


class _Health:
    """Whether the last export arrived; says so in the log once each time it changes."""

    def __init__(self) -> None:
        self.reached = True

    def tell(self, reached: bool) -> None:
        if reached != self.reached:
            self.reached = reached
            if reached:
                logger.info("telemetry arrives again")
            else:
                logger.warning(
                    "telemetry does not arrive at its OTLP endpoint; calls go on, their spans are dropped until it does"
                )


def _exporter(health: _Health) -> Any:
    """The OTLP exporter that the OTEL_* variables ask for; OTLP/HTTP on this machine when they ask for nothing."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    inner: SpanExporter = _otlp()

    class Reporting(SpanExporter):
        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            with _hushed():
                result = inner.export(spans)
            health.tell(result is SpanExportResult.SUCCESS)
            return result

        def shutdown(self) -> None:
            inner.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return inner.force_flush(timeout_millis)

    return Reporting()


def _otlp() -> Any:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    if protocol.strip() == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
        except ImportError:
            logger.warning("OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but its exporter is not installed; using OTLP/HTTP")
        else:
            return OverGrpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    told = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return OTLPSpanExporter(endpoint=None if told else ENDPOINT + "/v1/traces")


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


def _shutdown(provider: "TracerProvider", seconds: float) -> None:
    processors: Sequence[Any] = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())
    bounded: list[Callable[..., None]] = []
    for processor in processors:
        # The public shutdown waits up to 30 s for a collector that is away; this is the same one with a time.
        shutdown = getattr(getattr(processor, "_batch_processor", None), "shutdown", None)
        if shutdown is None:
            provider.shutdown()
            return
        bounded.append(shutdown)
    for shutdown in bounded:
        with _hushed():
            shutdown(timeout_millis=int(seconds * 1000))
