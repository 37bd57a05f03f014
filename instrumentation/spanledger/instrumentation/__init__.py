"""Meters the calls that this process makes to models: one span each, with the provider's own counts.

    import spanledger.auto  # noqa: F401

or, said explicitly:

    from spanledger.instrumentation import instrument
    instrument()
"""

from typing import TYPE_CHECKING, Any

from spanledger.instrumentation.errors import LimitExceeded, MissingExtra

if TYPE_CHECKING:
    from spanledger.instrumentation.attribution import attribute
    from spanledger.instrumentation.content import Redact
    from spanledger.instrumentation.engine import OnLimit

__all__ = ["LimitExceeded", "MissingExtra", "attribute", "instrument", "uninstrument"]


def instrument(*, on_limit: "OnLimit | None" = None, redact: "Redact | None" = None) -> None:
    """Meter every known client, whether it is imported already or later. Calling it again changes nothing.

    Spans go to the application's tracer provider when it has one, else over OTLP/HTTP to where the `OTEL_*`
    variables say (http://127.0.0.1:4318 by default). `SPANLEDGER_GUARD=1` asks the check API before each call.

    `on_limit` is called with the refusal and the model that was asked for; it may name another model, which is then
    checked and asked instead. None refuses the call.

    Content is recorded only where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for it. `redact` then gets the
    messages of a call in the conventions' form, and gives what may be recorded; None records nothing of them.
    """
    from spanledger.instrumentation.installation import install
    from spanledger.instrumentation.settings import Settings

    install(Settings.read(), on_limit, redact)


def uninstrument() -> None:
    """Leave the clients as they were found, and send what has been metered."""
    from spanledger.instrumentation.installation import remove

    remove()


def __getattr__(name: str) -> Any:
    if name == "attribute":
        from spanledger.instrumentation.attribution import attribute

        return attribute
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
