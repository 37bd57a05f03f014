"""Answers POST /api/checks straight off the connection; everything else on it is uvicorn's.

A check takes about 25 µs. Making a request of ASGI and its task, and passing it through FastAPI's routing, takes several
times that, so a request that is plain (whole, with a length, nothing unusual in its headers) is read and answered here. Any
other one, and any other path, goes to uvicorn and the app, which answer the same by the same `Checks`.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from spanledger.api.bounded_connection import BoundedConnection, ReadingBounds
from spanledger.api.check_answers import PLAIN, Answered
from spanledger.api.checks import PATH, Checks
from spanledger.api.problem import Problem, broken
from spanledger.api.tokens import MustWait

logger = logging.getLogger(__name__)

_START = f"POST {PATH} HTTP/1.1\r\n".encode()
_UNUSUAL = (b"transfer-encoding", b"expect", b"upgrade")
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

LONGEST_HEAD = 16 * 1024
LONGEST_BODY = 64 * 1024

Headers = dict[bytes, bytes]


def check_connections(checks: Checks, bounds: ReadingBounds) -> Callable[..., "CheckConnection"]:
    """What uvicorn calls for every connection (its setting `http`)."""

    def connection(*args: Any, **more: Any) -> CheckConnection:
        return CheckConnection(checks, bounds, *args, **more)

    return connection


class Unusual(Exception):
    """A request that uvicorn should read."""


def plain_head(head: bytes) -> tuple[Headers, int]:
    """Headers by lower name, and the body's length, of the POST of a check. Raises `Unusual`."""
    headers: Headers = {}
    for line in head[len(_START) :].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        # A repeated header, a folded line, a space before the colon: not worth an opinion of our own.
        if not colon or name in headers or name in _UNUSUAL or name.split() != [name] or b"\n" in line or b"\r" in line:
            raise Unusual
        headers[name] = value.strip()
    declared = headers.get(b"content-length", b"")
    if not declared.isdigit() or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        raise Unusual
    length = int(declared)
    if length > LONGEST_BODY:
        raise Unusual
    return headers, length


class CheckConnection(BoundedConnection):
    """One connection. While a check waits for its answer, what comes behind it is kept until then."""

    def __init__(self, checks: Checks, bounds: ReadingBounds, *args: Any, **more: Any) -> None:
        super().__init__(bounds, *args, **more)
        self._checks = checks
        self._between = True  # uvicorn's parser is not in the middle of a request
        self._answering: asyncio.Task[None] | None = None
        self._begun = self._behind = b""
        self._leaving = False
        self._answered_at = 0.0
        # A client says the same head over and over, and uvicorn makes its own headers once a second.
        self._head: tuple[bytes, Headers, int] = b"", {}, 0
        self._defaults: tuple[list[tuple[bytes, bytes]], bytes] = [], b""

    def data_received(self, data: bytes) -> None:
        if self._answering is not None:
            self._behind += data
            self.transport.pause_reading()
            return
        begun = bool(self._begun)
        if begun:
            data, self._begun = self._begun + data, b""
        if data.startswith(_START) and self._between and (self.cycle is None or self.cycle.response_complete):
            try:
                request = self._plain_request(data)
            except Unusual:
                super().data_received(data)
                return
            if request is None:
                self._begun = data
                if not begun:
                    self.expect(self.bounds.header_seconds)
            else:
                self.expect(None)
                self._answer(*request)
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def shutdown(self) -> None:
        """The server stops: what was asked is still answered."""
        self._leaving = True
        if self._answering is None:
            super().shutdown()

    def _plain_request(self, data: bytes) -> tuple[Headers, bytes] | None:
        """Headers and body of a check; None while more of it is to come. Raises `Unusual`."""
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            if len(data) > LONGEST_HEAD:
                raise Unusual
            return None
        known, headers, length = self._head
        if head != known:
            headers, length = plain_head(head)
            self._head = head, headers, length
        if len(body) > length:
            raise Unusual
        return (headers, body) if len(body) == length else None

    def _answer(self, headers: Headers, body: bytes) -> None:
        try:
            caller = self._checks.caller(headers)
            answered = self._checks.at_once(body, caller)
            if answered is None:
                self._begin(self._checks.answer(body, caller))
                return
        except MustWait:
            self._begin(self._checks.answer_whom(body, headers))
            return
        except Problem as problem:
            answered = problem.answered()
        except Exception as error:
            logger.exception("a check could not be answered")
            answered = broken(error).answered()
        self._write(answered)

    def _begin(self, answer: Any) -> None:
        self._answering = self.loop.create_task(self._answer_later(answer))
        self.tasks.add(self._answering)
        self._answering.add_done_callback(self.tasks.discard)

    async def _answer_later(self, answer: Any) -> None:
        try:
            answered: Answered = await answer
        except Problem as problem:
            answered = problem.answered()
        except Exception as error:
            logger.exception("a check could not be answered")
            answered = broken(error).answered()
        self._answering = None
        if self.transport.is_closing():
            # Nobody waits for it any more, and the hold would be a leak.
            await asyncio.to_thread(self._checks.take_back, answered)
            return
        self._write(answered)
        if self._behind:
            behind, self._behind = self._behind, b""
            self.transport.resume_reading()
            self.data_received(behind)

    def _write(self, answered: Answered) -> None:
        status, headers, body = answered
        of_server = self.server_state.default_headers
        if of_server is not self._defaults[0]:
            self._defaults = of_server, b"".join(b"%b: %b\r\n" % header for header in of_server)
        told = _PLAIN if headers is PLAIN else _lines(headers)
        end = b"connection: close\r\n\r\n" if self._leaving else b"\r\n"
        self.transport.write(
            b"%b%b%bcontent-length: %d\r\n%b%b" % (_STATUS[status], self._defaults[1], told, len(body), end, body)
        )
        self.server_state.total_requests += 1
        if self._leaving:
            self.transport.close()
            return
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that has been idle; one timer for many checks, since making one for each is dear."""
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left <= 0 and self._answering is None and not self._begun:
            super().timeout_keep_alive_handler()
        else:
            again = max(left, 1.0)
            self.timeout_keep_alive_task = self.loop.call_later(again, self.timeout_keep_alive_handler)


def _lines(headers: dict[str, str]) -> bytes:
    return "".join([f"{name}: {text}\r\n" for name, text in headers.items()]).encode("latin-1")


_PLAIN = _lines(PLAIN)
