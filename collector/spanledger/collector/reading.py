"""Read the journal into evidence, a batch at a time and ahead of the one that is posted.

One thread decodes and recognises, while the loop's does the rest: with one more, each waits for the interpreter more than it
gains. Only where bodies are long for what they hold (prompts and answers, or hardly a call to a model) is the next batch decoded
meanwhile, in a thread of its own (docs/performance.md).
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from spanledger.collector.decode.decode import Crowded, Telemetry, Undecodable
from spanledger.collector.decode.portions import MOST_BODIES, portions
from spanledger.collector.journal.journal import Journal
from spanledger.collector.received import Received
from spanledger.collector.timed import Timed

#: A batch is what arrives within this time after its first body …
GATHER_SECONDS = 0.25
#: … or twice the time that the last batch took to decode or to post, but no more than this: what takes long, takes hardly longer
#: for more …
MOST_GATHER_SECONDS = 0.75
#: … or until nothing has come for so long after a whole piece: a load that fills pieces comes more often, or has ended …
QUIET_SECONDS = 0.05
#: … or what holds about so many records about models: the steps by columns have a fixed cost a batch, so 12,000 take 3 µs a
#: record more than 20,000 …
FITTING_RECORDS = 20_000
#: … or so many bytes of bodies.
MOST_BYTES = 96 * 1024 * 1024
#: Bodies are decoded a piece at a time: of what is about no model, and of prompts and answers, memory never holds more.
PIECE_BYTES = 4 * 1024 * 1024
#: From so many bytes a record on, decoding takes about as long as all that follows, and few records pay for the 4 ms that a piece
#: costs whatever it holds: it is followed by one of twice the bytes. 4 kB of content: 15 µs a span in pieces of one body, and 8.
LONG_BYTES = 2 * 1024


class ReadingSteps(Protocol):
    """What is done with bodies; `steps.py` has the real ones."""

    def decode(self, bodies: Sequence[Received]) -> Telemetry:
        """Bodies to columns."""

    def recognise(self, telemetry: Telemetry) -> pl.DataFrame:
        """Columns to evidence."""


@dataclass(slots=True)
class Decoded:
    """Bodies up to `mark` of the journal as columns, or the error that came of decoding them."""

    mark: int
    bodies: int
    telemetry: Telemetry | None = None
    error: BaseException | None = None
    #: Whether its bodies are long for the records about models that they hold.
    long: bool = False


@dataclass(slots=True)
class Read:
    """A batch that was read from the journal: its evidence, or the error that came of reading it.

    Its bodies stay in the journal: several batches are in hand at once, and memory holds none of their bodies or prompts.
    """

    mark: int
    bodies: int
    evidence: pl.DataFrame | None = None
    undecodable: Sequence[Undecodable] = ()
    seen: int = 0
    error: BaseException | None = None


class Reading:
    """Used from one thread at a time. `took` is how long the last batch took to post, in seconds, as its user says."""

    def __init__(self, journal: Journal, steps: ReadingSteps, stopping: threading.Event, seconds: dict[str, float]) -> None:
        """Once `stopping` is set nothing is waited for; `seconds` adds up what each step takes."""
        self.took = 0.0
        self._journal, self._steps, self._stopping, self._seconds = journal, steps, stopping, seconds
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="spanledger-read")
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="spanledger-decode")
        self._ahead: tuple[int, Future[Decoded | None]] | None = None
        self._piece_bytes = PIECE_BYTES
        self._portion_bytes = _at_once(PIECE_BYTES)
        self._decoding = 0.0
        #: How long a time in which nothing comes says that nothing more will: short after a whole piece, and what it left over.
        self._quiet = GATHER_SECONDS

    def ahead(self, after: int) -> "Future[Read | None]":
        """As `next`, in a thread of its own."""
        return self._reader.submit(self.next, after)

    def next(self, after: int) -> Read | None:
        """The next batch above a sequence; None when nothing has come for a while."""
        decoded: Decoded | None = None
        if self._ahead is not None:
            behind, ahead = self._ahead
            self._ahead = None
            found = ahead.result()
            decoded = found if behind == after else None  # a batch that failed is read once more
        decoded = decoded or self._decoded(after)
        if decoded is None:
            return None
        if decoded.long:
            self._ahead = (decoded.mark, self._decoder.submit(self._decoded, decoded.mark))
        return self._recognised(decoded)

    def now(self, after: int, begun: Callable[[int, int], None], most: int = sys.maxsize) -> Read | None:
        """The next batch of what is there, of at most `most` bodies, without waiting for any and with nothing read ahead.

        `begun` is told of the newest body, and of how many, before they are decoded.
        """
        decoded = self._decode(_told(self._pieces(after, 0.0, most), begun))
        return self._recognised(decoded) if decoded.bodies else None

    def again(self, bodies: Sequence[Received]) -> Read:
        """These bodies, and no others, as a batch."""
        return self._recognised(self._decode([bodies], all_of_them=True))

    def close(self) -> None:
        """Return when both threads have ended."""
        self._reader.shutdown()
        self._decoder.shutdown()

    def _decoded(self, after: int) -> Decoded | None:
        """What has gathered above a sequence, waiting for some; None when nothing has come for a while."""
        waiting = not self._stopping.is_set()
        took = max(self.took, self._decoding)
        gather = min(max(GATHER_SECONDS, 2 * took), MOST_GATHER_SECONDS) if waiting else 0.0
        wait = self._journal.wait
        if not wait(after, patience_seconds=0.5 if waiting else 0, gather_seconds=0, enough_bytes=PIECE_BYTES):
            return None
        until = time.monotonic() + gather
        wait(after, patience_seconds=0, gather_seconds=min(gather, self._quiet), enough_bytes=PIECE_BYTES)
        decoded = self._decode(self._pieces(after, until))
        return decoded if decoded.bodies else None

    def _pieces(self, after: int, until: float, most: int = sys.maxsize) -> Iterator[Sequence[Received]]:
        """The bodies above a sequence, piece by piece as each is whole, then what is there at `until` or once nothing comes."""
        more = True
        while bodies := self._journal.take(after, enough_bytes=self._piece_bytes, most=min(most, MOST_BODIES)):
            after = bodies[-1].sequence
            if sum(len(body.body) for body in bodies) >= PIECE_BYTES:
                self._quiet = QUIET_SECONDS
            yield bodies
            if (most := most - len(bodies)) <= 0 or not more:
                return
            del bodies
            while more and (there := self._journal.unread) < self._piece_bytes:
                left = min(until - time.monotonic(), self._quiet)
                more = left > 0 and not self._stopping.is_set()
                if more:
                    self._journal.wait(after, patience_seconds=left, gather_seconds=left, enough_bytes=self._piece_bytes)
                    more = self._journal.unread != there
            if not self._journal.unread:
                return

    def _decode(self, pieces: Iterable[Sequence[Received]], *, all_of_them: bool = False) -> Decoded:
        """The bodies of so many pieces as make a batch: it may end inside of one, the rest of which is taken again."""
        parts: list[Telemetry] = []
        mark = count = size = records = 0
        enough = False
        before = self._seconds.get("decode", 0.0)
        for piece in pieces:
            for bodies, telemetry in self._in_portions(piece):
                plain = sum(len(body.body) for body in bodies)
                mark, count, size = bodies[-1].sequence, count + len(bodies), size + plain
                if isinstance(telemetry, BaseException):
                    return Decoded(mark, count, error=telemetry)
                parts.append(telemetry)
                found = telemetry.records.height
                self._piece_bytes = PIECE_BYTES if found * LONG_BYTES > plain else 2 * PIECE_BYTES
                records += found
                del bodies, telemetry
                enough = not all_of_them and (size >= MOST_BYTES or records >= FITTING_RECORDS)
                if enough:
                    break
            if enough:
                self._journal.put_back(sum(len(body.body) for body in piece if body.sequence > mark))
                break
            del piece
        if not enough:
            self._quiet = GATHER_SECONDS
        self._decoding = self._seconds.get("decode", 0.0) - before
        return Decoded(mark, count, Telemetry.joined(parts) if parts else None, long=size >= records * LONG_BYTES)

    def _in_portions(self, piece: Sequence[Received]) -> "Iterator[tuple[list[Received], Telemetry | BaseException]]":
        """Bodies, some at a time, and what they are decoded to, or the error that came of it, after which nothing follows."""
        turns = portions(piece, self._portion_bytes)
        while True:
            with Timed(self._seconds, "decode"):
                waiting = [some] if (some := next(turns, None)) else []
            if not waiting:
                return
            while waiting:
                bodies = waiting.pop()
                try:
                    with Timed(self._seconds, "decode"):
                        telemetry = self._steps.decode(bodies)
                except Crowded:
                    middle = len(bodies) // 2
                    waiting += [bodies[middle:], bodies[:middle]]
                    self._portion_bytes = max(sum(len(body.body) for body in bodies) // 2, 1)
                    continue
                except BaseException as error:  # a panic of a library in Rust is no Exception
                    yield bodies, error
                    return
                self._portion_bytes = min(2 * self._portion_bytes, _at_once(self._piece_bytes))
                yield bodies, telemetry
                del bodies, telemetry

    def _recognised(self, decoded: Decoded) -> Read:
        telemetry, decoded.telemetry = decoded.telemetry, None
        if telemetry is None:
            return Read(decoded.mark, decoded.bodies, error=decoded.error)
        try:
            with Timed(self._seconds, "recognise"):
                evidence = self._steps.recognise(telemetry)
        except BaseException as error:
            return Read(decoded.mark, decoded.bodies, error=error)
        return Read(decoded.mark, decoded.bodies, evidence, telemetry.undecodable, telemetry.seen)


def _at_once(piece_bytes: int) -> int:
    """Bytes of memory that are decoded at once at most: a piece ends with a whole body, which is not to be decoded by itself."""
    return piece_bytes + piece_bytes // 2


def _told(pieces: Iterable[Sequence[Received]], begun: Callable[[int, int], None]) -> Iterator[Sequence[Received]]:
    count = 0
    for bodies in pieces:
        count += len(bodies)
        begun(bodies[-1].sequence, count)
        yield bodies
