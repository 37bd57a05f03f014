"""The conventions' two metrics of a call, for applications that have a meter provider."""

import threading
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation.usage import Usage

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram

# The bucket boundaries that the conventions advise.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_KEPT = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "server.address", "server.port")


class Metrics:
    """`gen_ai.client.operation.duration` and `gen_ai.client.token.usage`. Costs one look where there is no meter provider."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._provider: object = None
        self._duration: Histogram | None = None
        self._tokens: Histogram | None = None

    def record(self, seconds: float, asked: dict[str, Any], model: str | None, usage: Usage | None, error: str | None) -> None:
        """`asked` are the attributes that the call's span began with."""
        import opentelemetry.metrics as metrics

        provider: object = metrics.get_meter_provider()
        if provider is not self._provider:
            self._take(provider)
        if self._duration is None or self._tokens is None:
            return
        attributes = {name: asked[name] for name in _KEPT if name in asked}
        if model:
            attributes["gen_ai.response.model"] = model
        if usage is not None and error is None:
            if usage.input is not None:
                self._tokens.record(usage.input, {**attributes, "gen_ai.token.type": "input"})
            if usage.output is not None:
                self._tokens.record(usage.output, {**attributes, "gen_ai.token.type": "output"})
        if error is not None:
            attributes["error.type"] = error
        self._duration.record(seconds, attributes)

    def _take(self, provider: Any) -> None:
        with self._lock:
            self._provider = provider
            self._duration = self._tokens = None
            # The API's own stand-in for a provider that is not set, and the one that does nothing.
            if type(provider).__name__ in ("_ProxyMeterProvider", "NoOpMeterProvider"):
                return
            meter = provider.get_meter("spanledger.instrumentation")
            self._duration = _histogram(meter, "gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS)
            self._tokens = _histogram(
                meter, "gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS
            )


def _histogram(meter: Any, name: str, unit: str, says: str, boundaries: tuple[float, ...]) -> Any:
    try:
        return meter.create_histogram(name, unit, says, explicit_bucket_boundaries_advisory=boundaries)
    except TypeError:
        # Before API 1.30 there was no advice.
        return meter.create_histogram(name, unit, says)
