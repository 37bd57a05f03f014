"""The same for `opentelemetry-instrument`, which loads it by entry point."""

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from spanledger.instrumentation import instrument, uninstrument


class SpanledgerInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Needs the package opentelemetry-instrumentation, which `opentelemetry-instrument` comes from."""

    def instrumentation_dependencies(self) -> Collection[str]:
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        instrument()

    def _uninstrument(self, **kwargs: Any) -> None:
        uninstrument()
