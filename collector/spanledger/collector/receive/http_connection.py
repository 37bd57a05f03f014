"""One HTTP connection, on httptools, so that headers, bodies, idle time and bytes held have bounds.

A general server reads a request for as long as its sender likes; here each connection has a deadline for its headers and
its body, and the bytes held for all of them have one common bound. Requests are answered one after the other, in order.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import httptools
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.refused import Busy, Malformed, Refused, TooLarge, WrongType
from spanledger.collector.received import Compression, Encoding, Signal

logger = logging.getLogger(__name__)

_SIGNALS: tuple[tuple[str, Signal], ...] = (("/v1/traces", "traces"), ("/v1/logs", "logs"), ("/v1/metrics", "metrics"))
_TYPES: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}
_ENCODINGS: dict[str, Encoding] = {kind: encoding for encoding, kind in _TYPES.items()}
_COMPRESSIONS: dict[str, Compression] = {"": "identity", "identity": "identity", "gzip": "gzip", "x-gzip": "gzip"}

_HEADERS_LIMIT = 64 * 1024
# Closing while the sender still sends resets the connection, and it may never read why; so what still comes is read
# and thrown away for a moment.
_LINGER_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """What one listener grants its senders."""

    connections: int = 4096
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    held_bytes: int = 256 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the connections of one listener have in common; `held` counts the bytes of bodies being read or answered."""

    accept: Accept
    bounds: HttpBounds
    connections: set["Connection"] = field(default_factory=set)
    held: int = 0


@dataclass(slots=True)
class _Request:
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    header_bytes: int = 0
    body: list[bytes] = field(default_factory=list)
    size: int = 0
    method: bytes = b""
    refused: Refused | None = None

    @property
    def encoding(self) -> Encoding | None:
        return _ENCODINGS.get(self.headers.get("content-type", "").partition(";")[0].strip().lower())


class Connection(asyncio.Protocol):
    """What asyncio and httptools call for one connection."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._request = _Request()
        self._waiting: list[_Request] = []
        self._answering: asyncio.Task[None] | None = None
        self._keep_alive = True
        self._receiving = False
        self._discarding = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._shared.connections.add(self)
        if len(self._shared.connections) > self._shared.bounds.connections:
            self._refuse(Busy(f"there are already {self._shared.bounds.connections} connections"))
        else:
            self._expect(self._shared.bounds.header_seconds)

    def data_received(self, chunk: bytes) -> None:
        if self._discarding:
            return
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserUpgrade:
            self._refuse(Malformed("this port speaks OTLP over HTTP/1.1"))
        except httptools.HttpParserError as error:
            if not self._discarding:
                self._refuse(Malformed(f"not HTTP/1.1: {error}"))

    def eof_received(self) -> bool:
        self._ended, self._keep_alive = True, False
        return self._answering is not None  # half-closed: the answer is still owed

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.connections.discard(self)
        self._expect(None)
        for request in (self._request, *self._waiting):
            self._let_go(request)
        self._waiting.clear()
        self._transport = None

    def on_message_begin(self) -> None:
        self._request = _Request()
        self._receiving = True
        self._expect(self._shared.bounds.header_seconds)

    def on_url(self, url: bytes) -> None:
        self._request.path += url.decode("latin-1")
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value))
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._expect(self._shared.bounds.body_seconds)
        headers, limit = self._request.headers, self._shared.accept.body_limit
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            self._refuse(TooLarge(f"the body is larger than {limit} bytes"))
        elif headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        if self._discarding:
            return
        request, limit = self._request, self._shared.accept.body_limit
        request.size += len(chunk)
        request.body.append(chunk)
        self._shared.held += len(chunk)
        if request.size > limit:
            self._refuse(TooLarge(f"the body is larger than {limit} bytes"))
        elif self._shared.held > self._shared.bounds.held_bytes:
            self._refuse(Busy("too many bytes are being received at once", retry_after_seconds=1))

    def on_message_complete(self) -> None:
        if self._discarding:
            return
        self._receiving = False
        self._keep_alive = self._keep_alive and self._parser.should_keep_alive()
        self._request.method = self._parser.get_method()
        self._expect(None)
        self._enqueue(self._request)
        if len(self._waiting) > 1 and self._transport is not None:
            self._transport.pause_reading()

    def finish(self) -> None:
        """Close when what was begun has been answered."""
        self._keep_alive = False
        if self._answering is None and not self._receiving:
            self._close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def _enqueue(self, request: _Request) -> None:
        self._waiting.append(request)
        if self._answering is None:
            self._answering = self._loop.create_task(self._answer())

    async def _answer(self) -> None:
        while self._waiting and self._transport is not None:
            request = self._waiting[0]
            head, body = await self._outcome(request)
            self._let_go(request)
            if self._waiting:
                self._waiting.pop(0)
            last = not self._waiting and not self._keep_alive
            self._write(head + ("Connection: close\r\n" if last else ""), body)
            if last:
                self._linger()
        self._answering = None
        if self._transport is not None and not self._discarding and not self._transport.is_closing():
            self._expect(self._shared.bounds.idle_seconds)
            self._transport.resume_reading()

    async def _outcome(self, request: _Request) -> tuple[str, bytes]:
        encoding = request.encoding
        try:
            if request.refused is not None:
                raise request.refused
            path = request.path.partition("?")[0].rstrip("/")
            signal = next((signal for ending, signal in _SIGNALS if path.endswith(ending)), None)
            if signal is None:
                return _head(404, "text/plain"), b"OTLP goes to /v1/traces, /v1/logs and /v1/metrics\n"
            if request.method != b"POST":
                return _head(405, "text/plain") + "Allow: POST\r\n", b"OTLP is sent with POST\n"
            if encoding is None:
                raise WrongType("the content type must be application/x-protobuf or application/json")
            compression = _COMPRESSIONS.get(request.headers.get("content-encoding", "").strip().lower())
            if compression is None:
                raise WrongType("the content encoding must be gzip or identity")
            body = request.body[0] if len(request.body) == 1 else b"".join(request.body)
            authorization = request.headers.get("authorization", "")
            answer = await self._shared.accept.accept(signal, encoding, compression, body, authorization)
            return _head(200, _TYPES[encoding]), _written(answer, encoding)
        except Refused as refused:
            if not refused.counted:
                self._shared.accept.refused(refused)
            retry = f"Retry-After: {refused.retry_after_seconds}\r\n" if refused.retry_after_seconds else ""
            return _head(refused.http_status, _TYPES[encoding or "json"]) + retry, _written(refused.status(), encoding or "json")
        except Exception:
            logger.exception("an OTLP request of %d bytes could not be answered", request.size)
            failed = Busy("internal error; send it again")
            return _head(503, _TYPES[encoding or "json"]) + "Retry-After: 5\r\n", _written(failed.status(), encoding or "json")

    def _refuse(self, refused: Refused) -> None:
        """Answer before the request has ended, read no more of it, and close."""
        request = self._request
        self._let_go(request)
        request.refused = refused
        self._keep_alive = False
        self._discarding = True
        self._enqueue(request)

    def _write(self, head: str, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)

    def _linger(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if not self._discarding or self._ended or not self._transport.can_write_eof():
            self._close()
            return
        self._transport.write_eof()
        self._expect(_LINGER_SECONDS)

    def _count_header(self, size: int) -> None:
        self._request.header_bytes += size
        if self._request.header_bytes > _HEADERS_LIMIT and not self._discarding:
            self._refuse(TooLarge(f"the headers are larger than {_HEADERS_LIMIT} bytes"))

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self._close)

    def _let_go(self, request: _Request) -> None:
        self._shared.held -= sum(map(len, request.body))
        request.body.clear()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _head(status: int, content_type: str) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"


def _written(message: Message, encoding: Encoding) -> bytes:
    return MessageToJson(message, indent=None).encode() if encoding == "json" else message.SerializeToString()
