"""Clients that emit spans of their own: they start none for a request that is metered here."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from spanledger.instrumentation.patching import Wrap
from spanledger.instrumentation.provider import RequestLayer

#: Set while a metered request runs in a client that would otherwise emit a span of its own for it.
silent: ContextVar[bool] = ContextVar("spanledger.silent", default=False)


def silence(layer: RequestLayer) -> Wrap:
    """A client's own starting of a span, which gives nothing while a request of it is metered."""
    if layer.style == "tracer":
        return QuietTracer
    instead = layer.instead or nothing

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def quiet(*args: Any, **kwargs: Any) -> Any:
            return instead(*args, **kwargs) if silent.get() else original(*args, **kwargs)

        return quiet

    return wrap


class QuietTracer:
    """Stands where a client keeps its tracer: it starts no span while a request of it is metered here."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        if silent.get():
            from opentelemetry.trace import NoOpTracer

            return getattr(NoOpTracer(), name)
        return getattr(self._tracer, name)


def nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""
