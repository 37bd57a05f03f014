"""What tells one client library from another: where its requests pass, and how they and their answers are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.settings import Settings

Style = Literal[
    "sync",
    "async",
    "generator",
    "async_generator",
    "context",
    "async_context",
    "tracer",
    "listen",
    "listen_async",
    "listen_connected",
]
Ask = Callable[[Any, tuple[Any, ...], dict[str, Any], Settings], Asked | None]
"""Reads a request: (client, positional arguments, keyword arguments, settings). None: not a call to a model."""
Hear = Callable[[Any, Any, Any], None]
"""Reads a message of a session: (what was heard before, the client's connection, the message)."""
Watch = Callable[[Call, Any], Any]
"""Reads what the client returned and ends the call, or arranges for both to happen as the application reads it. Gives
what the client's own code is to read in its place, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLayer:
    """The one method every request of a client passes: `owner.method` in `module`.

    A client that has no such method has one layer a method, each with an `ask` of its own. The style "tracer" is for
    `silence` alone: `method` names a tracer that the module keeps. `instead` is what a silenced function does, where to
    give None is not enough. `hear` is for the styles that listen: what passes there is a message of a session.
    """

    module: str
    owner: str
    method: str
    style: Style
    ask: Ask | None = None
    instead: Callable[..., Any] | None = None
    hear: Hear | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One client library. `tested` are the oldest and newest versions that the suite has run with.

    `silence` names functions of the client that start spans of its own; they give nothing while we meter the call.
    `reveals` names functions that turn what is raised below them into errors of their own: a refusal comes out of them.
    `watch` is for results of a kind that no other client has; None leaves them to `results.watch`.
    """

    name: str
    client: str
    layers: tuple[RequestLayer, ...]
    ask: Ask
    tested: tuple[str, str]
    silence: tuple[RequestLayer, ...] = ()
    reveals: tuple[RequestLayer, ...] = ()
    watch: Watch | None = None

    def places(self) -> tuple[RequestLayer, ...]:
        """Everywhere that this client is touched."""
        return (*self.layers, *self.silence, *self.reveals)
