"""One connection to Redis from an event loop, on which commands do not wait for each other.

What is asked goes out at once, and answers come back in its order. redis-py's own pipelines took three times the CPU of this
for a check, and one had to come back before the next could leave.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.connection import SSLConnection, parse_url

Word = str | bytes | int | float
Address = tuple[str, int]


class RedisPipe:
    """Connects when it is first asked, and anew after a failure. Of one event loop. `at`: not where the URL says, but there.

    A connection that answers nothing for `answer_seconds` while something is asked is given up. What fails raises `OSError`
    (also time-outs); what Redis refuses raises `hiredis.ReplyError`.
    """

    def __init__(self, url: str, at: Address | None, *, connect_seconds: float, answer_seconds: float) -> None:
        self._options = options_of(url, at)
        self.at = at
        self._connect_seconds, self._answer_seconds = connect_seconds, answer_seconds
        self.loop = asyncio.get_running_loop()
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line] | None = None
        self._left = False

    async def ask(self, *words: Word) -> Any:
        """The answer to one command."""
        line = self._line
        if line is None or line.over:
            if self._connecting is None or self._connecting.done():
                self._connecting = self.loop.create_task(self._connect())
            line = await asyncio.shield(self._connecting)
        answered = line.sent(words)
        if self._left:
            line.leave()
        return await answered

    def leave(self) -> None:
        """Close once everything that was asked is answered."""
        self._left = True
        if self._line is not None:
            self._line.leave()

    def close(self) -> None:
        """Give up what is open; whoever still waits is told so."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.end(ConnectionError("the connection to Redis was closed"))

    async def _connect(self) -> "_Line":
        options = self._options
        line = _Line(self.loop, self._answer_seconds)
        async with asyncio.timeout(self._connect_seconds):
            if path := options.get("path"):
                await self.loop.create_unix_connection(lambda: line, path)
            else:
                host, port = options.get("host", "localhost"), options.get("port", 6379)
                await self.loop.create_connection(lambda: line, host, port, ssl=_tls(options))
            try:
                if options.get("password"):
                    whose = [options["username"]] if options.get("username") else []
                    await line.sent(("AUTH", *whose, options["password"]))
                if options.get("db"):
                    await line.sent(("SELECT", options["db"]))
            except BaseException as error:
                line.end(ConnectionError(str(error)))
                raise
        # Here and not where it is waited for: until that goes on, another would connect once more.
        self._line = line
        return line


class _Line(asyncio.Protocol):
    """One connection, until it is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer_seconds: float) -> None:
        self._loop, self._answer_seconds = loop, answer_seconds
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._left = False
        self.over = False

    def sent(self, words: Sequence[Word]) -> asyncio.Future[Any]:
        """Send a command; the future has its answer."""
        answered: asyncio.Future[Any] = self._loop.create_future()
        if self.over or self._transport is None:
            answered.set_exception(ConnectionError("the connection to Redis is lost"))
            return answered
        self._asked.append(answered)
        self._transport.write(hiredis.pack_command(tuple(words)))  # type: ignore[arg-type]
        if self._watch is None:
            self._heard_at = self._loop.time()
            self._watch = self._loop.call_later(self._answer_seconds, self._look)
        return answered

    def leave(self) -> None:
        """Nothing more will be asked: it is over when all is answered."""
        self._left = True
        if not self._asked:
            self.end(ConnectionError("the connection to Redis was left"))

    def end(self, error: Exception) -> None:
        """It is over: close, and tell all that wait why."""
        self.over = True
        if self._transport is not None:
            self._transport.abort()
        while self._asked:
            asked = self._asked.popleft()
            if not asked.done():
                asked.set_exception(error)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(exc or ConnectionError("Redis closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            asked = self._asked.popleft()
            if asked.done():
                continue
            if isinstance(answer, hiredis.ReplyError):
                asked.set_exception(answer)
            else:
                asked.set_result(answer)
        if self._left and not self._asked:
            self.leave()

    def _look(self) -> None:
        """Every `answer_seconds` while something is asked: whether anything was heard meanwhile."""
        self._watch = None
        if not self._asked:
            return
        left = self._heard_at + self._answer_seconds - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
        else:
            self.end(TimeoutError(f"Redis did not answer within {self._answer_seconds:g} s"))


def options_of(url: str, at: Address | None) -> dict[str, Any]:
    """What a Redis URL says, as redis-py reads it, with another address where one is given."""
    options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
    return options if at is None else options | {"host": at[0], "port": at[1]}


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    if options.get("connection_class") is not SSLConnection:
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"))
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if options.get("ssl_cert_reqs") == "none" or options.get("ssl_check_hostname") is False:
        context.check_hostname = False
    if options.get("ssl_cert_reqs") == "none":
        context.verify_mode = ssl.CERT_NONE
    return context
