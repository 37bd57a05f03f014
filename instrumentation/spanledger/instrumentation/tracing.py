"""Where spans go: the application's tracer provider when it has one, else one of our own over OTLP/HTTP."""

import atexit
import os
import threading
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation.call import end_open_calls
from spanledger.instrumentation.metrics import Metrics

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from spanledger.instrumentation.content import Redact
    from spanledger.instrumentation.outbox import Outbox

SCOPE = "spanledger.instrumentation"
SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
#: How long a fork waits for a batch that is on its way.
FORK_SECONDS = 0.5


class Tracing:
    """Gives the tracer for a call. The application's provider may be set before or after the first call.

    Our own provider is private: it is never made the global one, so an application that sets its own later is not
    told that overriding is not allowed.
    """

    def __init__(self) -> None:
        self.disabled = False
        self.keeps_sampled_out = True
        self.captures = False
        self.redact: Redact | None = None
        self._lock = threading.RLock()
        self._provider: object = None
        self._tracer: Tracer | None = None
        self._own: TracerProvider | None = None
        self._outbox: Outbox | None = None
        self._forking: threading.Lock | None = None
        self.metrics = Metrics()

    def start_span(self, name: str, attributes: dict[str, Any]) -> "tuple[Span, Context]":
        """A span for a call, and the context for the client's own work inside it.

        Where the application's sampler drops the trace, the call still goes out whole, by our own provider: cost does not
        vanish when traces are sampled. The context is then the one that the sampler made.
        """
        import opentelemetry.trace as trace

        span = self.tracer().start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        context = trace.set_span_in_context(span)
        if not span.is_recording() and self.keeps_sampled_out and hasattr(self._provider, "sampler"):
            with self._lock:
                own = self._own_provider().get_tracer(SCOPE, version(), schema_url=SCHEMA)
            span = own.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        return span, context

    def no_span(self) -> "tuple[Span, Context]":
        """For a call that is not to be told of: whatever is inside it stands where the call does."""
        from opentelemetry import context, trace

        return trace.INVALID_SPAN, context.get_current()

    def tracer(self) -> "Tracer":
        """Costs one look at the global provider when nothing has changed."""
        import opentelemetry.trace as trace

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
            own.shutdown()

    def before_fork(self) -> None:
        """Wait until no batch is on its way: a child that is born while our thread imports or resolves something, with the
        interpreter's locks held, would hang at its own first import."""
        if self._outbox is not None:
            self._forking = self._outbox.sending if self._outbox.sending.acquire(timeout=FORK_SECONDS) else None

    def after_fork(self) -> None:
        """In the parent."""
        forking, self._forking = self._forking, None
        if forking is not None:
            forking.release()

    def forget(self) -> None:
        """In a child process: what the parent has not sent is the parent's to send."""
        self._lock = threading.RLock()
        self._forking = None
        self._provider = self._tracer = self._own = self._outbox = None

    def flush(self) -> None:
        """Send what our own provider holds."""
        if self._own is not None:
            self._own.force_flush()

    def _own_provider(self) -> "TracerProvider":
        if self._own is None:
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON

            from spanledger.instrumentation.exporting import outbox

            # Only calls to models come this way, and each of them is money: none is sampled out.
            provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
            if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "none":
                self._outbox = outbox()
                provider.add_span_processor(self._outbox)
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
