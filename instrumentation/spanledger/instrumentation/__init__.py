"""Meters the calls that this process makes to models: one span each, with the provider's own counts.

    import spanledger.auto  # noqa: F401

or, said explicitly:

    from spanledger.instrumentation import instrument
    instrument()
"""

from typing import TYPE_CHECKING, Any

from spanledger.instrumentation.errors import LimitExceeded, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

    from spanledger.instrumentation.attribution import attribute

__all__ = ["LimitExceeded", "MissingExtra", "attribute", "instrument", "uninstrument"]


def instrument(*, on_limit: "Callable[[LimitExceeded, str | None], str | None] | None" = None) -> None:
    """Meter every known client, whether it is imported already or later. Calling it again changes nothing.

    Spans go to the application's tracer provider when it has one, else over OTLP/HTTP to where the `OTEL_*`
    variables say (http://127.0.0.1:4318 by default). `SPANLEDGER_GUARD=1` asks the check API before each call.

    `on_limit` is called with the refusal and the model that was asked for; it may name another model, which is then
    checked and asked instead. None refuses the call.
    """
    from spanledger.instrumentation.engine import ENGINE
    from spanledger.instrumentation.settings import Settings

    ENGINE.start(Settings.read(), on_limit)


def uninstrument() -> None:
    """Leave the clients as they were found, and send what has been metered."""
    from spanledger.instrumentation.engine import ENGINE

    ENGINE.stop()


def __getattr__(name: str) -> Any:
    if name == "attribute":
        from spanledger.instrumentation.attribution import attribute

        return attribute
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
