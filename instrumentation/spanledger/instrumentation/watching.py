"""Stands in for an iterator or a closable inside a client's own stream object, where the HTTP body cannot be reached.

Each is an object, not a generator: a generator that was never started runs nothing when it is dropped.
"""

from collections.abc import Callable
from typing import Any, Self

from spanledger.instrumentation import harmless
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.streams import left

See = Callable[[Any], None]
"""Looks at a piece of the stream as it passes."""


class _Watched:
    """Does what its inner does; the call ends when it is closed or dropped."""

    def __init__(self, inner: Any, call: Call, see: See | None = None) -> None:
        self._inner = inner
        self._call = call
        self._see = see

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _saw(self, piece: Any) -> None:
        if not self._call.first_at:
            self._call.saw_chunk()
        if self._see is not None:
            try:
                self._see(piece)
            except Exception as bug:
                harmless.drop(bug, "reading a piece of a stream")

    def __del__(self) -> None:
        # The module may be half gone when the interpreter exits.
        if "_call" in self.__dict__:
            self._call.end()


class Closable(_Watched):
    """What a stream closes when it is closed."""

    def close(self) -> Any:
        if not self._call.reading:
            self._call.end()
        return self._inner.close()


class Pieces(_Watched):
    """The same pieces; the call ends when they do."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        call = self._call
        call.reading = True
        try:
            piece = next(self._inner)
        except StopIteration:
            call.end()
            raise
        except BaseException as error:
            call.end(left(error))
            raise
        finally:
            call.reading = False
        self._saw(piece)
        return piece

    def close(self) -> None:
        self._call.end()
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()


class AsyncPieces(_Watched):
    """The same for an asynchronous iterator."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        call.reading = True
        try:
            piece = await anext(self._inner)
        except StopAsyncIteration:
            call.end()
            raise
        except BaseException as error:
            call.end(left(error))
            raise
        finally:
            call.reading = False
        self._saw(piece)
        return piece

    async def aclose(self) -> None:
        self._call.end()
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await close()
