"""What a way to another backend does with a body, and how it says that it could not."""

from typing import Protocol

from spanledger.collector.received import Received


class Later(Exception):
    """The backend cannot take the body now; `after_seconds` is when it asked to be tried again, 0 if it did not say."""

    def __init__(self, message: str, after_seconds: float = 0) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Never(Exception):
    """The backend refuses this body for good."""


class Deliver(Protocol):
    """Delivers one body after the other, from one thread."""

    def deliver(self, received: Received) -> None:
        """Return when the backend has taken it; raises `Later` or `Never`."""

    def close(self) -> None:
        """Let go of the connection."""
