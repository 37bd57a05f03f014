"""The collector's own traces and metrics, sent where `OTEL_EXPORTER_OTLP_ENDPOINT` says, and never into itself."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import version
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

logger = logging.getLogger(__name__)

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104


class OwnTelemetry:
    """Providers of our own: nothing global is set, so an application that embeds the collector keeps its own."""

    def __init__(self, environ: Mapping[str, str], registry: CollectorRegistry) -> None:
        """Takes the standard variables; the figures are those of `/metrics`."""
        # Imported here: most collectors send nothing, and would start a quarter of a second later.
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        name = environ.get("OTEL_SERVICE_NAME", "spanledger")
        resource = Resource.create({"service.name": name, "service.version": version("spanledger")})
        self._registry = registry
        self._traces = TracerProvider(resource=resource)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._metrics = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource=resource)
        self.tracer: Tracer = self._traces.get_tracer("spanledger.collector")
        meter = self._metrics.get_meter("spanledger.collector")
        for family in list(registry.collect()):
            if family.type == "counter":
                meter.create_observable_counter(family.name, [self._observing(family.name)], description=family.documentation)
            elif family.type == "gauge":
                meter.create_observable_gauge(family.name, [self._observing(family.name)], description=family.documentation)

    def stop(self) -> None:
        """Send what is left, within the exporters' time-outs."""
        self._traces.shutdown()
        self._metrics.shutdown()

    def _observing(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            for family in self._registry.collect():
                if family.name == name:
                    yield from _observations(family)

        return observe


def wanted(environ: Mapping[str, str], own: Collection[str]) -> bool:
    """Whether own telemetry is to be sent: an endpoint is named, and it is none of our own addresses (host:port)."""
    named = [environ[name] for name in _ENDPOINTS if environ.get(name)]
    if not named or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    ports = {address.rpartition(":")[2] for address in own}
    for url in named:
        parts = urlsplit(url)
        if (parts.hostname or "") in _LOCAL and str(parts.port or 4318) in ports:
            logger.warning("own telemetry is not sent: %s is this collector itself", url)
            return False
    return True


_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")


def _observations(family: Metric) -> Iterable[Observation]:
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            yield Observation(sample.value, dict(sample.labels))
