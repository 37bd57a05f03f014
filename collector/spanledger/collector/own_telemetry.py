"""The collector's own traces and metrics, sent where `OTEL_EXPORTER_OTLP_*` say, and never into itself."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import NoOpTracer, Tracer
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from spanledger.collector.itself import is_itself

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

logger = logging.getLogger(__name__)

OwnSignal = Literal["traces", "metrics"]
_SIGNALS: tuple[OwnSignal, ...] = ("traces", "metrics")


class OwnTelemetry:
    """Providers of our own: nothing global is set, so an application that embeds the collector keeps its own."""

    def __init__(self, environ: Mapping[str, str], registry: CollectorRegistry, endpoints: Mapping[OwnSignal, str]) -> None:
        """`endpoints` are those of `destinations`; the exporters read what else is said of them (headers, certificates,
        time-outs) from the process's environment. The figures are those of `/metrics`."""
        # Imported here and in `_exporter`: most collectors send nothing, and would start a third of a second later.
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        name = environ.get("OTEL_SERVICE_NAME", "spanledger")
        resource = Resource.create({"service.name": name, "service.version": version("spanledger")})
        self._registry = registry
        self._providers: list[TracerProvider | MeterProvider] = []
        self.tracer: Tracer = NoOpTracer()
        if "traces" in endpoints:
            traces = TracerProvider(resource=resource)
            traces.add_span_processor(BatchSpanProcessor(_exporter(environ, "traces", endpoints["traces"])))
            self.tracer = traces.get_tracer("spanledger.collector")
            self._providers.append(traces)
        if "metrics" in endpoints:
            reader = PeriodicExportingMetricReader(_exporter(environ, "metrics", endpoints["metrics"]))
            metrics = MeterProvider([reader], resource=resource)
            self._observe(metrics)
            self._providers.append(metrics)

    def stop(self) -> None:
        """Send what is left, within the exporters' time-outs."""
        for provider in self._providers:
            provider.shutdown()

    def _observe(self, metrics: "MeterProvider") -> None:
        meter = metrics.get_meter("spanledger.collector")
        for family in list(self._registry.collect()):
            if family.type == "counter":
                meter.create_observable_counter(family.name, [self._observing(family.name)], description=family.documentation)
            elif family.type == "gauge":
                meter.create_observable_gauge(family.name, [self._observing(family.name)], description=family.documentation)

    def _observing(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            for family in self._registry.collect():
                if family.name == name:
                    yield from _observations(family)

        return observe


def destinations(environ: Mapping[str, str], own: Collection[str]) -> dict[OwnSignal, str]:
    """Where each signal is to be sent: only where a variable names a place, and none of our own addresses (host:port)."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return {}
    found: dict[OwnSignal, str] = {}
    for signal in _SIGNALS:
        url = _endpoint(environ, signal)
        if url is None or environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").lower() != "otlp":
            continue
        parts = urlsplit(url if "://" in url else f"//{url}")
        port = parts.port or (4317 if _over_grpc(environ, signal) else 4318)
        if is_itself(parts.hostname or "", port, own):
            logger.warning("its own %s are not sent: %s is this collector itself", signal, url)
        else:
            found[signal] = url
    return found


def _endpoint(environ: Mapping[str, str], signal: OwnSignal) -> str | None:
    """Without a place that is named nothing is sent: the exporters' default, localhost:4318, is most likely ourselves."""
    if url := environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"):
        return url
    if not (url := environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        return None
    return url if _over_grpc(environ, signal) else f"{url.rstrip('/')}/v1/{signal}"


def _over_grpc(environ: Mapping[str, str], signal: OwnSignal) -> bool:
    named = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    return named.lower() == "grpc"


def _exporter(environ: Mapping[str, str], signal: OwnSignal, url: str) -> Any:
    if _over_grpc(environ, signal):
        try:
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
        except ImportError:
            logger.error(
                "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, for which opentelemetry-exporter-otlp-proto-grpc is not installed: "
                "its own %s are sent to %s as http/protobuf",
                signal,
                url,
            )
        else:
            return GrpcTraces(endpoint=url) if signal == "traces" else GrpcMetrics(endpoint=url)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=url) if signal == "traces" else OTLPMetricExporter(endpoint=url)


def _observations(family: Metric) -> Iterable[Observation]:
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            yield Observation(sample.value, dict(sample.labels))
