"""Meters sessions: connections that carry many calls, of which what the application receives tells.

Nothing is asked of the guard: the provider begins most answers by itself, while somebody speaks.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from spanledger.instrumentation import harmless
from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.engine import ENGINE, suppressed
from spanledger.instrumentation.metering import Original, names_now
from spanledger.instrumentation.provider import Hear


class Session:
    """What has been heard on one connection: facts about it, and the calls that are under way by their ids."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self._calls: dict[str, Call] = {}

    def begin(self, key: str, asked: Asked) -> Call | None:
        """An answer has begun; None when telemetry is off."""
        call = None if ENGINE.settings.sdk_disabled or suppressed() else ENGINE.begin(asked, names_now(), None)
        if call is not None:
            self._calls[key] = call
        return call

    def take(self, key: str) -> Call | None:
        """The call of this id, which is to be ended."""
        return self._calls.pop(key, None)

    def __del__(self) -> None:
        # The connection is gone: what had begun on it was cut short.
        for call in self.__dict__.get("_calls", {}).values():
            call.end()


_sessions: "WeakKeyDictionary[Any, Session]" = WeakKeyDictionary()


def session_of(connection: Any) -> Session:
    """Kept as long as the connection is."""
    session = _sessions.get(connection)
    if session is None:
        session = _sessions[connection] = Session()
    return session


def _heard(hear: Hear, connection: Any, message: Any) -> None:
    if not ENGINE.active:
        return
    try:
        hear(session_of(connection), connection, message)
    except Exception as bug:
        harmless.drop(bug, "reading a message of a session")


def listen(hear: Hear, original: Original) -> Original:
    """The receiving of a connection, listened to."""

    def received(connection: Any, *args: Any, **kwargs: Any) -> Any:
        message = original(connection, *args, **kwargs)
        _heard(hear, connection, message)
        return message

    return received


def listen_async(hear: Hear, original: Original) -> Original:
    """The same for asynchronous receiving."""

    async def received(connection: Any, *args: Any, **kwargs: Any) -> Any:
        message = await original(connection, *args, **kwargs)
        _heard(hear, connection, message)
        return message

    return received


def listen_connected(hear: Hear, original: Original) -> Original:
    """An asynchronous context manager that gives a connection; what it was asked for is heard first."""

    @asynccontextmanager
    async def connected(client: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with original(client, *args, **kwargs) as connection:
            _heard(hear, connection, kwargs)
            try:
                yield connection
            finally:
                _sessions.pop(connection, None)

    return connected
