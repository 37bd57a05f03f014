"""Watches a stream by its first events and its last: reading each on the application's way would cost a multiple of the span.

What is passed over is text. It is counted in pieces, and measured by the pieces that are read.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.answer import Answer, Reader
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.streams import left

#: Events that are read when the stream has ended: the reason of the end, what filters say after it, the usage.
LAST = 4


class Tail:
    """The last events of a stream, and how many there were before them."""

    __slots__ = ("answer", "last", "read", "seen")

    def __init__(self, read: Reader, answer: Answer) -> None:
        self.read = read
        self.answer = answer
        self.last: deque[Any] = deque(maxlen=LAST)
        self.seen = 0

    def take(self, event: Any, call: Call) -> None:
        """Read an event before the model is known and one with a usage; keep any other."""
        answer = self.answer
        if answer.model is None:
            if not call.first_at:
                call.saw_chunk()
            _see(self.read, event, answer)
            return
        try:
            told = event.__dict__["usage"]
        except (AttributeError, KeyError):
            told = event  # another kind of event
        if told is None:
            self.seen += 1
            self.last.append(event)
        else:
            self.settle()
            _see(self.read, event, answer)

    def settle(self) -> None:
        """Read what was kept, and measure what was not by it. A second time does nothing."""
        answer, passed_over = self.answer, self.seen - len(self.last)
        self.seen = 0
        while self.last:
            _see(self.read, self.last.popleft(), answer)
        if passed_over and answer.pieces:
            answer.characters += round(passed_over * answer.characters / answer.pieces)
        answer.pieces += passed_over


def skims(call: Call) -> bool:
    """Whether the stream of this call may be read so: one choice, and no content to be kept."""
    asked = call.asked
    if not asked.operation.skims or asked.keep is not None or call.answer.heard is not None:
        return False
    return (asked.body.get("n") or 1) == 1


def skimmed(inner: Iterator[Any], call: Call) -> Generator[Any, None, None]:
    """The same events; the call ends when they do."""
    call.tail = Tail(call.asked.operation.read_event, call.answer)
    take = call.tail.take
    call.reading = True
    try:
        for event in inner:
            call.reading = False
            take(event, call)
            yield event
            call.reading = True
    except BaseException as error:
        call.end(left(error))
        raise
    call.end()


async def async_skimmed(inner: AsyncIterator[Any], call: Call) -> AsyncGenerator[Any, None]:
    """The same events; the call ends when they do."""
    call.tail = Tail(call.asked.operation.read_event, call.answer)
    take = call.tail.take
    call.reading = True
    try:
        async for event in inner:
            call.reading = False
            take(event, call)
            yield event
            call.reading = True
    except BaseException as error:
        call.end(left(error))
        raise
    call.end()


def _see(read: Reader, event: Any, answer: Answer) -> None:
    try:
        read(event, answer)
    except Exception as bug:
        harmless.drop(bug, "reading an event of a stream")
