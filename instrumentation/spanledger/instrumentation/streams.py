"""Watches a stream from inside the client's own objects: its events, and the bytes and the end of its body.

Nothing is replaced that the application can see: an iterator inside the client's stream object, and the byte stream
inside the HTTP response. Helpers close the response rather than the stream, and a generator that was never started
runs nothing when it is dropped; so the end of the body, not of the iteration, is what always comes.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.answer import Reader
from spanledger.instrumentation.call import Call

Keep = Callable[[Any], bool]
Feed = Callable[[bytes], None]


def left(error: BaseException) -> BaseException | None:
    """Leaving a stream is no error of the provider: what was not read is told as cut short."""
    # By name: asyncio has CancelledError, trio and anyio's other loops have Cancelled; none of them is imported for it.
    left = isinstance(error, GeneratorExit) or type(error).__name__ in ("CancelledError", "Cancelled")
    return None if left else error


def events(inner: Iterator[Any], call: Call, read: Reader, keep: Keep | None) -> Generator[Any, None, None]:
    """The same events; the call ends when they do."""
    answer = call.answer
    call.reading = True
    try:
        for event in inner:
            call.reading = False
            if not call.first_at:
                call.saw_chunk()
            try:
                read(event, answer)
            except Exception as bug:
                harmless.drop(bug, "reading an event of a stream")
            if keep is None or keep(event):
                yield event
            call.reading = True
    except BaseException as error:
        call.end(left(error))
        raise
    call.end()


async def async_events(inner: AsyncIterator[Any], call: Call, read: Reader, keep: Keep | None) -> AsyncGenerator[Any, None]:
    """The same events; the call ends when they do."""
    answer = call.answer
    call.reading = True
    try:
        async for event in inner:
            call.reading = False
            if not call.first_at:
                call.saw_chunk()
            try:
                read(event, answer)
            except Exception as bug:
                harmless.drop(bug, "reading an event of a stream")
            if keep is None or keep(event):
                yield event
            call.reading = True
    except BaseException as error:
        call.end(left(error))
        raise
    call.end()


class _Body:
    """Stands inside a response where its byte stream was, and is one of the same kind (`body_kind`)."""

    def __init__(self, body: Any, call: Call, feed: Feed | None) -> None:
        self._body = body
        self._call = call
        self._feed = feed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body) if self._feed is None else self._pieces(self._feed)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__() if self._feed is None else self._async_pieces(self._feed)

    def _pieces(self, feed: Feed) -> Iterator[bytes]:
        call = self._call
        try:
            for piece in self._body:
                _feed(call, feed, piece)
                yield piece
        except BaseException as error:
            call.end(left(error))
            raise
        call.end()

    async def _async_pieces(self, feed: Feed) -> AsyncIterator[bytes]:
        call = self._call
        try:
            async for piece in self._body:
                _feed(call, feed, piece)
                yield piece
        except BaseException as error:
            call.end(left(error))
            raise
        call.end()

    def close(self) -> None:
        # While an event is awaited, whoever awaits it learns how it ended, and ends the call.
        if not self._call.reading:
            self._call.end()
        self._body.close()

    async def aclose(self) -> None:
        if not self._call.reading:
            self._call.end()
        await self._body.aclose()

    def __del__(self) -> None:
        # A stream that was never read and is dropped. The module may be half gone when the interpreter exits.
        if "_call" in self.__dict__:
            self._call.end()


def _feed(call: Call, feed: Feed, piece: bytes) -> None:
    if not call.first_at:
        call.saw_chunk()
    try:
        feed(piece)
    except Exception as bug:
        harmless.drop(bug, "reading the bytes of a stream")


_kinds: dict[type, type[_Body]] = {}


def watch_body(response: Any, call: Call, feed: Feed | None = None) -> None:
    """Put the watching byte stream into an HTTP response. `feed` gets every piece as it passes, still encoded."""
    body = response.stream
    kind = _kinds.get(type(body))
    if kind is None:
        # httpx and httpx2 check that a body is one of their own kinds, and each has its own classes.
        bases = tuple(c for c in type(body).__mro__ if c.__name__ in ("SyncByteStream", "AsyncByteStream"))
        kind = _kinds[type(body)] = type("WatchedBody", (_Body, *bases), {})
    response.stream = kind(body, call, feed)
