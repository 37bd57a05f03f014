"""What passes between the server and a wire format: a request, and what answers it."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request; header names are in lower case, `body` is its JSON (empty when there is none)."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    content: bytes
    body: Mapping[str, Any]
    number: int

    @property
    def model(self) -> str:
        return str(self.body.get("model") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back. With `chunks` the body is streamed; `cut` drops the connection after them, without an end."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    chunks: Iterable[bytes] | None = None
    cut: bool = False


Speaker = Callable[[Request], Answer | None]
"""A wire format: answers the requests that are its own and gives None for the others."""


def answer_json(document: object, status: int = 200, headers: Mapping[str, str] = NONE) -> Answer:
    named = {"content-type": "application/json", **headers}
    return Answer(status=status, headers=named, content=json.dumps(document).encode())


def event(document: object, name: str | None = None) -> bytes:
    """A server-sent event whose data is a JSON document."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(document)}\n\n".encode()


def answer_events(events: Iterable[bytes], headers: Mapping[str, str] = NONE, *, cut: bool = False) -> Answer:
    return Answer(headers={"content-type": "text/event-stream; charset=utf-8", **headers}, chunks=events, cut=cut)


def failing_status(model: str) -> int | None:
    """The HTTP status that a model of the name `fail-<status>` always answers with."""
    status = model.removeprefix("fail-")
    return int(status) if status != model and status.isdigit() else None


def words(count: int) -> list[str]:
    """`count` tokens of an answer, so that joined they are its text."""
    said = ("Every", " call", " is", " counted", " once", " and", " priced", " exactly", ".", " ")
    return [said[i % len(said)] for i in range(count)]
