"""The journal: bodies that were acknowledged and are not yet in the ledger, in SQLite, one fsync for many.

A writer thread commits everything that has gathered while the last commit was under way, and only then wakes the
senders. Pages of 64 KiB: with SQLite's usual 4 KiB a body of 400 kB costs 2.5 times the CPU (docs/decisions).
"""

import asyncio
import logging
import sqlite3
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from spanledger.collector.journal_file import COLUMNS, EPOCH, JournalError, connected, opened, read, row_of
from spanledger.collector.receive.refused import Busy
from spanledger.collector.received import Received

logger = logging.getLogger(__name__)

#: The reader that every journal has.
LEDGER = "ledger"

_COMMIT_BYTES = 32 * 1024 * 1024


class Journal:
    """Append from one event loop, read and drop from one other thread."""

    def __init__(self, path: Path, *, limit_bytes: int, above: int = 0, readers: Collection[str] = ()) -> None:
        """Open or make the journal. `above` is the ledger's mark: it needs no body up to there, and numbers go on from there.

        `readers` are others that must have had a body before it is dropped. Past `limit_bytes` of waiting bodies `append`
        raises `Busy`. Raises `JournalError`.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        try:
            self._writing = opened(path, above)
            self._reading = connected(path)
            self._asking = connected(path)  # for threads that only want figures
            self._marks = _marks(self._writing, above, readers)
            _start_above(self._writing, above, min(self._marks.values()))
            with self._writing:
                self._writing.execute("begin immediate")
                _brought_back(self._writing, "again > 0")
            row = self._writing.execute("select count(*), coalesce(sum(length(body)), 0), max(sequence) from bodies").fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"the journal {path} cannot be opened: {error}") from error
        self.bodies: int = row[0]
        self.bytes: int = row[1]
        self._unread: int = self.bytes
        self._last: int = row[2] or above
        self._promised = 0
        self._changed = threading.Condition()
        self._asking_lock = threading.Lock()
        self._closed = False
        self._work: SimpleQueue[_Appending | _Task | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="spanledger-journal", daemon=True)
        self._writer.start()

    async def append(self, received: Received) -> None:
        """Return when the body is on disk; raises `Busy` when the journal or the disk is full."""
        size = len(received.body)
        if self.bytes + self._promised + size > self.limit_bytes:
            raise Busy(f"the journal is full: {self.bytes} bytes wait for the ledger, {self.limit_bytes} are allowed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._promised += size
        self._work.put(_Appending(received, done, loop))
        try:
            await asyncio.shield(done)
        finally:
            self._promised -= size

    def wait(self, after: int, *, patience_seconds: float, gather_seconds: float, enough_bytes: int) -> bool:
        """Whether bodies above `after` are there; when some are, wait a little for more, until there are enough."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._last > after or self._closed, patience_seconds):
                return False
            self._changed.wait_for(lambda: self._unread >= enough_bytes or self._closed, gather_seconds)
            return self._last > after

    def take(self, after: int, *, enough_bytes: int) -> list[Received]:
        """The oldest bodies above `after`, about `enough_bytes` of them, at least one if there is any.

        A body whose bytes are not what was written is set aside.
        """
        intact, damaged, size = read(self._reading, after, enough_bytes)
        for sequence in damaged:
            self.set_aside(sequence, "the journal's page is damaged: the body is not what was received")
        with self._changed:
            self._unread = max(0, self._unread - size)
        return intact

    @property
    def unread(self) -> int:
        """Bytes of bodies that have not been taken yet."""
        return self._unread

    def between(self, after: int, upto: int) -> list[Received]:
        """The bodies above `after` up to `upto` once more, for whoever has taken them and must look again."""
        connection = connected(self.path)
        try:
            return read(connection, after, sys.maxsize, f"sequence <= {upto}")[0]
        finally:
            connection.close()

    def mark(self, reader: str = LEDGER) -> int:
        """Up to where a reader has read."""
        return self._marks[reader]

    def drop(self, upto: int, *, reader: str = LEDGER) -> None:
        """Note that a reader needs no body up to `upto` any more, and forget those that no reader needs; returns at once."""
        self._marks[reader] = max(upto, self._marks[reader])
        self._work.put(_Task(lambda connection: self._dropped(connection, reader, upto)))

    def set_aside(self, sequence: int, reason: str, *, ours: bool = False) -> None:
        """Keep a body that cannot be decoded where it stops nobody; returns when that is on disk.

        `ours` says that a fault of this program was the reason: the next start, perhaps of a newer version, tries again.
        """

        def aside(connection: sqlite3.Connection) -> None:
            now = int(datetime.now(UTC).timestamp() * 1e6)
            connection.execute(
                f"insert or replace into set_aside (sequence, {COLUMNS}, reason, again, at) "  # noqa: S608
                f"select sequence, {COLUMNS}, ?, ?, ? from bodies where sequence = ?",
                (reason, int(ours), now, sequence),
            )
            if set(self._marks) == {LEDGER}:  # another reader may not have had it
                self._gone(connection, "sequence = ?", sequence)

        self.run(aside)

    def run(self, task: Callable[[sqlite3.Connection], None]) -> None:
        """Run `task` in a transaction of the writer thread; returns when it is on disk, raises what it raises."""
        done = _Task(task)
        self._work.put(done)
        done.finished.wait()
        if done.error is not None:
            raise done.error

    def peek(self, reader: str, *, enough_bytes: int, patience_seconds: float) -> list[Received]:
        """The next bodies for a reader other than the ledger, waiting for some; without those it has had before."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._last > self._marks[reader] or self._closed, patience_seconds):
                return []
        connection = connected(self.path)
        try:
            intact, damaged, _ = read(connection, self._marks[reader], enough_bytes, "again = 0")
        finally:
            connection.close()
        if not intact:  # nothing but what is damaged or was handed on: pass it by
            self.drop(max([self._last if not damaged else max(damaged), self._marks[reader]]), reader=reader)
        return intact

    def try_again(self) -> int:
        """Bring back what an operator asked for with `spanledger journal retry`; gives how many bodies."""
        if self._ask("select 1 from set_aside where again = 2 limit 1") is None:
            return 0
        brought = 0

        def back(connection: sqlite3.Connection) -> None:
            nonlocal brought
            brought, size = _brought_back(connection, "again = 2")
            with self._changed:
                self.bodies += brought
                self.bytes += size
                self._unread += size
                self._last = int(connection.execute("select max(sequence) from bodies").fetchone()[0] or self._last)

        self.run(back)
        with self._changed:
            self._changed.notify_all()
        return brought

    def behind(self, reader: str) -> int:
        """How many bodies a reader has not had yet."""
        return int(self._ask(f"select count(*) from bodies where sequence > {self._marks[reader]}")[0])  # noqa: S608

    def count_set_aside(self) -> int:
        """How many bodies are set aside."""
        return int(self._ask("select count(*) from set_aside")[0])

    def oldest(self) -> datetime | None:
        """When the oldest waiting body was received."""
        row = self._ask("select received_at from bodies order by sequence limit 1")
        return None if row is None else EPOCH + timedelta(microseconds=row[0])

    def _ask(self, question: str) -> Any:
        with self._asking_lock:
            return self._asking.execute(question).fetchone()

    def flush(self) -> None:
        """Return when everything that was asked for so far is on disk."""
        self.run(lambda connection: None)

    def close(self) -> None:
        """Finish what was asked for and close the file."""
        if self._closed:
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._work.put(None)
        self._writer.join()
        self._reading.close()
        with self._asking_lock:
            self._asking.close()
        self._writing.close()

    def _write(self) -> None:
        while True:
            gathered = [self._work.get()]
            size = 0
            while isinstance(newest := gathered[-1], _Appending):
                size += len(newest.received.body)
                if size >= _COMMIT_BYTES or self._work.empty():
                    break
                gathered.append(self._work.get())
            appending = [work for work in gathered if isinstance(work, _Appending)]
            if appending:
                self._append(appending, size)
            if isinstance(newest, _Task):
                self._perform(newest)
            elif newest is None:
                return

    def _append(self, group: "list[_Appending]", size: int) -> None:
        refused: Busy | None = None
        try:
            with self._writing:
                self._writing.execute("begin immediate")
                self._writing.executemany(
                    f"insert into bodies ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                    [row_of(one.received) for one in group],
                )
                last = int(self._writing.execute("select last_insert_rowid()").fetchone()[0])
        except Exception as error:
            logger.error("%d bodies could not be journalled and were refused: %s", len(group), error)
            refused = Busy(f"the journal cannot be written: {error}")
        else:
            with self._changed:
                self.bodies += len(group)
                self.bytes += size
                self._unread += size
                self._last = last
                self._changed.notify_all()
        for loop in {one.loop for one in group}:
            loop.call_soon_threadsafe(_answer, [one.done for one in group if one.loop is loop], refused)

    def _perform(self, task: "_Task") -> None:
        try:
            with self._writing:
                self._writing.execute("begin immediate")
                task.run(self._writing)
        except Exception as error:
            task.error = error
            logger.error("the journal could not be changed: %s", error)
        finally:
            task.finished.set()

    def _dropped(self, connection: sqlite3.Connection, reader: str, upto: int) -> None:
        connection.execute("insert or replace into marks (reader, mark) values (?, ?)", (reader, upto))
        self._gone(connection, "sequence <= ?", min(self._marks.values()))

    def _gone(self, connection: sqlite3.Connection, which: str, sequence: int) -> None:
        count, size = connection.execute(
            f"select count(*), coalesce(sum(length(body)), 0) from bodies where {which}", (sequence,)  # noqa: S608
        ).fetchone()  # fmt: skip
        connection.execute(f"delete from bodies where {which}", (sequence,))  # noqa: S608
        with self._changed:
            self.bodies -= count
            self.bytes -= size


class _Appending:
    __slots__ = ("done", "loop", "received")

    def __init__(self, received: Received, done: "asyncio.Future[None]", loop: asyncio.AbstractEventLoop) -> None:
        self.received, self.done, self.loop = received, done, loop


class _Task:
    def __init__(self, run: Callable[[sqlite3.Connection], None]) -> None:
        self.run = run
        self.finished = threading.Event()
        self.error: Exception | None = None


def _marks(connection: sqlite3.Connection, above: int, readers: Collection[str]) -> dict[str, int]:
    """Where each reader stands; one that is new begins with what is there, one that is gone holds nothing back."""
    found = dict(connection.execute("select reader, mark from marks").fetchall())
    oldest = connection.execute("select coalesce(min(sequence), 1) - 1 from bodies").fetchone()[0]
    marks = {LEDGER: max(above, found.get(LEDGER, 0)), **{name: found.get(name, max(oldest, 0)) for name in readers}}
    with connection:
        connection.execute("begin immediate")
        connection.execute("delete from marks")
        connection.executemany("insert into marks (reader, mark) values (?, ?)", marks.items())
    return marks


def _start_above(connection: sqlite3.Connection, above: int, needless: int) -> None:
    """Drop what nobody needs, and never give a number again that the ledger's mark already covers."""
    with connection:
        connection.execute("begin immediate")
        connection.execute("delete from bodies where sequence <= ?", (needless,))
        known = connection.execute("select seq from sqlite_sequence where name = 'bodies'").fetchone()
        if known is None:
            connection.execute("insert into sqlite_sequence (name, seq) values ('bodies', ?)", (above,))
        elif known[0] < above:
            connection.execute("update sqlite_sequence set seq = ? where name = 'bodies'", (above,))


def _brought_back(connection: sqlite3.Connection, which: str) -> tuple[int, int]:
    """Bodies that were set aside wait again, under new numbers: the old ones may lie below the ledger's mark.

    Gives how many, and of how many bytes.
    """
    found = connection.execute(f"select count(*), coalesce(sum(length(body)), 0) from set_aside where {which}").fetchone()  # noqa: S608
    if found[0]:
        connection.execute(
            f"insert into bodies ({COLUMNS}, again) select {COLUMNS}, 1 from set_aside where {which} order by sequence"  # noqa: S608
        )
        connection.execute(f"delete from set_aside where {which}")  # noqa: S608
    return int(found[0]), int(found[1])


def _answer(waiting: "Iterable[asyncio.Future[None]]", refused: Busy | None) -> None:
    for done in waiting:
        if done.cancelled():
            continue
        if refused is None:
            done.set_result(None)
        else:
            done.set_exception(Busy(str(refused)))
