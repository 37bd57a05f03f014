"""The loop: takes what has gathered in the journal and turns it into entries of the ledger, batch by batch."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import polars as pl
import pyarrow as pa
from opentelemetry.trace import NoOpTracer, Tracer

from spanledger.collector.count.count_once import CountOnce
from spanledger.collector.journal.deaths import Deaths
from spanledger.collector.journal.journal import Journal
from spanledger.collector.reading import Read, Reading, ReadingSteps
from spanledger.collector.timed import Timed
from spanledger.ledger.frame import conform
from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.table import Ledger

logger = logging.getLogger(__name__)

_RETRY_SECONDS = (0.2, 1.0, 5.0, 15.0)


class Steps(ReadingSteps, Protocol):
    """What the loop does with a batch, step by step; `service.py` fills it with the real ones."""

    def fresh_count_once(self, mark: int) -> CountOnce:
        """A counter that knows what the ledger knows up to `mark`."""

    def price(self, entries: pl.DataFrame) -> pl.DataFrame:
        """Entries with their money."""

    def post(self, entries: pa.Table, frame: pl.DataFrame, mark: int | None) -> None:
        """Commit to the ledger, then feed the counters."""


@dataclass(slots=True)
class Progress:
    """What the loop has done since it started, for the operator. Seconds are sums over all batches."""

    batches: int = 0
    bodies: int = 0
    seen: int = 0
    set_aside: int = 0
    entries: dict[str, int] = field(default_factory=dict)
    unpriced: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    failing: str = ""
    last_post_at: datetime | None = None


class Loop:
    """Threads of its own, so that the event loop stays free: one posts a batch while `Reading`'s read the next."""

    def __init__(self, journal: Journal, ledger: Ledger, steps: Steps, *, clock: Callable[[], datetime] | None = None) -> None:
        self.progress = Progress()
        self.position = max(ledger.mark(), journal.mark())
        self._journal, self._steps = journal, steps
        self.deaths = Deaths(journal)
        self._clock = clock or (lambda: datetime.now(UTC))
        self._marked = self.position
        self._count_once: CountOnce | None = steps.fresh_count_once(self.position)
        self._looked_at = 0.0
        self.tracer: Tracer = NoOpTracer()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._reading = Reading(journal, steps, self._stopping, self.progress.seconds)
        self._thread = threading.Thread(target=self._run, name="spanledger-loop", daemon=True)

    def replay(self) -> int:
        """Bring everything that the journal holds into the ledger; gives the number of bodies. Called before `start`."""
        replayed = 0
        with self.deaths as deaths:
            while True:
                after = self.position
                begun = partial(deaths.begun, after)
                if reason := deaths.deadly(after):
                    self._journal.take(after, enough_bytes=1, most=1)  # it is not waited for any more
                    self._set_aside(deaths.last, reason)
                    self._passed(deaths.last)
                    continue
                batch = self._reading.now(after, begun, deaths.most(after))
                if batch is None:
                    return replayed
                self._finish(batch)
                replayed += batch.bodies

    def start(self) -> None:
        """Begin to take from the journal."""
        self._thread.start()

    def stop(self, seconds: float = 60.0) -> None:
        """Bring what is in the journal into the ledger and end. What cannot be posted in that time stays in the journal."""
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._reading.close()

    def _run(self) -> None:
        ahead: Future[Read | None] | None = None
        while True:
            last = self._stopping.is_set()  # whatever was journalled before this is still read and posted
            try:
                batch = None if ahead is None else ahead.result()
                ahead = None
                if batch is None:  # nothing was there when it was asked for ahead
                    batch = self._reading.next(self.position)
                if batch is not None:
                    if time.monotonic() + self._reading.took > self._deadline:  # another might not end in time
                        return
                    began = time.monotonic()
                    ahead = self._reading.ahead(batch.mark)
                    with self.tracer.start_as_current_span("spanledger.batch", attributes={"spanledger.bodies": batch.bodies}):
                        self._finish(batch)
                    self._reading.took = time.monotonic() - began
                self._every_second()
            except _GivenUp:
                return
            except BaseException as error:  # a panic of a library in Rust is no Exception, and must not end this thread
                failing = f"{type(error).__name__}: {error}"
                if failing != self.progress.failing:  # once a cause, not once a second
                    logger.exception("the loop failed and goes on trying; what was acknowledged is in the journal")
                self.progress.failing = failing
                self._count_once = None  # what it takes for posted may not be in the ledger
                if ahead is not None:
                    wait([ahead])  # it reads from the journal, as the next try will
                    ahead = None
                if last or self._stopping.wait(1.0):
                    return
                continue
            if last and batch is None:
                return

    def _finish(self, batch: Read) -> None:
        """Post a batch; when a step fails because of one body, find that body and set it aside."""
        mark, counter = batch.mark, self._counter()
        try:
            if batch.error is not None:
                raise batch.error
            entries = self._entries(counter, batch)
        except BaseException as error:  # a panic of a library in Rust is no Exception
            self._count_once = None  # it may know half of the batch
            if isinstance(error, OSError | MemoryError):
                raise  # a full disk is no body's fault: the whole batch is tried again
            if batch.bodies > 1:
                bodies = self._journal.between(self.position, mark)
                middle = len(bodies) // 2
                for half in (bodies[:middle], bodies[middle:]):
                    if half:
                        self._finish(self._reading.again(half))
                return
            logger.exception("body %d could not be read", mark, exc_info=error)
            self._set_aside(mark, f"{type(error).__name__}: {error}", ours=True)
            entries = None
        if entries is not None:
            self._post(entries, mark)
        for bad in batch.undecodable:
            self._set_aside(bad.sequence, bad.reason)
        self.progress.seen += batch.seen
        self._passed(mark)
        self.progress.batches += 1
        self.progress.bodies += batch.bodies

    def _entries(self, counter: CountOnce, batch: Read) -> pl.DataFrame | None:
        """Priced entries; None when nothing in the bodies is about a model."""
        evidence, batch.evidence = batch.evidence, None
        if evidence is None or evidence.is_empty():
            return None
        with self._timed("count once"):
            entries = counter.count(evidence, now=self._clock(), mark=batch.mark)
        del evidence
        return self._priced(entries)

    def _counter(self) -> CountOnce:
        """The counter, or, when what it knew was never posted, another that knows what is in the ledger."""
        if self._count_once is None:
            self._count_once = self._steps.fresh_count_once(self._marked)
        return self._count_once

    def _priced(self, entries: pl.DataFrame) -> pl.DataFrame:
        if entries.is_empty():
            return entries
        with self._timed("price"):
            return self._steps.price(entries)

    def _every_second(self) -> None:
        if time.monotonic() - self._looked_at < 1:
            return
        self._looked_at = time.monotonic()
        self._journal.try_again()
        self._due()

    def _due(self) -> None:
        entries = self._priced(self._counter().due(now=self._clock()))
        if not entries.is_empty():
            self._post(entries, None)

    def _post(self, entries: pl.DataFrame, mark: int | None) -> None:
        """Commit, and try again until it works: the batch is in the journal, and nothing behind it can overtake it."""
        with self._timed("post"):
            table = ENTRIES.empty_table() if entries.is_empty() else conform(entries)
        attempt, last = 0, False
        while True:
            try:
                with self._timed("post"):
                    self._steps.post(table, entries, mark)
                break
            except Exception as error:
                self.progress.failing = f"the ledger cannot be written: {error}"
                logger.error("%d entries could not be posted and are tried again: %s", len(table), error)
                wait = _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]
                attempt += 1
                if last:
                    raise _GivenUp from error
                last = self._stopping.wait(wait)  # told to stop, it tries once more: what kept it may be over
        self._marked = self._marked if mark is None else mark
        try:
            self._counter().posted(self._marked, entries)
        except Exception:
            # The entries are in the ledger: a counter that has lost its way begins anew from there.
            logger.exception("the counter could not note what was posted and begins anew from its files")
            self._count_once = None
        progress = self.progress
        progress.failing = ""
        progress.last_post_at = self._clock()
        if "kind" in entries.columns:
            for kind, count in entries["kind"].value_counts().iter_rows():
                progress.entries[kind] = progress.entries.get(kind, 0) + count
            progress.unpriced += int((entries["cost_state"] == "unpriced").sum())

    def _passed(self, mark: int) -> None:
        self.position = mark
        self._journal.drop(mark)

    def _set_aside(self, sequence: int, reason: str, *, ours: bool = False) -> None:
        logger.warning("body %d is set aside, see `spanledger journal list`: %s", sequence, reason)
        self._journal.set_aside(sequence, reason, ours=ours)
        self.progress.set_aside += 1

    def _timed(self, step: str) -> Timed:
        return Timed(self.progress.seconds, step)


class _GivenUp(Exception):
    """Stopping while the ledger cannot be written: the journal keeps the batch for the next start."""
