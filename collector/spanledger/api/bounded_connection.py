"""A connection of uvicorn's with a deadline for the head of a request and one for its body, as the OTLP listeners have them.

uvicorn reads a request for as long as its sender likes; so ten thousand that send a byte a minute would hold as many connections.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingBounds:
    """How long a request may take to come in; what it takes to answer has no bound here."""

    header_seconds: float = 10.0
    body_seconds: float = 60.0


class BoundedConnection(HttpToolsProtocol):
    """Closes when what is expected has not come in time."""

    def __init__(self, bounds: ReadingBounds, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.bounds = bounds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.expect(self.bounds.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.expect(None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.expect(self.bounds.header_seconds)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.expect(self.bounds.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.expect(None)
        super().on_message_complete()

    def expect(self, seconds: float | None) -> None:
        """Close in so many seconds unless told otherwise; None: nothing is being read."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
