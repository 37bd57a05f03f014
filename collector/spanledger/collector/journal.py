"""The journal: bodies that were acknowledged and are not yet in the ledger, in SQLite, one fsync for many.

A writer thread commits everything that has gathered while the last commit was under way, and only then wakes the
senders. Pages of 64 KiB: with SQLite's usual 4 KiB a body of 400 kB costs 2.5 times the CPU (docs/decisions).
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from spanledger.collector.journal_file import COLUMNS, EPOCH, JournalError, connected, opened, received_of, row_of
from spanledger.collector.receive.refused import Busy
from spanledger.collector.received import Received

logger = logging.getLogger(__name__)

_COMMIT_BYTES = 32 * 1024 * 1024


class Journal:
    """Append from one event loop, read and drop from one other thread."""

    def __init__(self, path: Path, *, limit_bytes: int, above: int = 0) -> None:
        """Open or make the journal. `above` is the ledger's mark: what it covers is dropped, and numbers go on from there.

        Past `limit_bytes` of waiting bodies `append` raises `Busy`. Raises `JournalError`.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        try:
            self._writing = opened(path, above)
            self._reading = connected(path)
            self._asking = connected(path)  # for threads that only want figures
            _start_above(self._writing, above)
            with self._writing:
                self._writing.execute("begin immediate")
                _brought_back(self._writing, "again > 0")
            row = self._writing.execute("select count(*), coalesce(sum(length(body)), 0), max(sequence) from bodies").fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"the journal {path} cannot be opened: {error}") from error
        self.bodies: int = row[0]
        self.bytes: int = row[1]
        self._unread = self.bytes
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
        taken: list[Received] = []
        size = 0
        found = self._reading.execute(f"select sequence, {COLUMNS} from bodies where sequence > ? order by sequence", (after,))  # noqa: S608
        for row in found:
            received, intact = received_of(row)
            size += len(received.body)
            if intact:
                taken.append(received)
            else:
                self.set_aside(received.sequence, "the journal's page is damaged: the body is not what was received")
            if size >= enough_bytes:
                break
        found.close()
        with self._changed:
            self._unread = max(0, self._unread - size)
        return taken

    def drop(self, upto: int) -> None:
        """Forget the bodies up to `upto`, which are in the ledger; returns at once."""
        self._work.put(_Task(lambda connection: self._dropped(connection, upto)))

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
            self._gone(connection, "sequence = ?", sequence)

        self.run(aside)

    def run(self, task: Callable[[sqlite3.Connection], None]) -> None:
        """Run `task` in a transaction of the writer thread; returns when it is on disk, raises what it raises."""
        done = _Task(task)
        self._work.put(done)
        done.finished.wait()
        if done.error is not None:
            raise done.error

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

    def _dropped(self, connection: sqlite3.Connection, upto: int) -> None:
        self._gone(connection, "sequence <= ?", upto)

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


def _start_above(connection: sqlite3.Connection, above: int) -> None:
    """Drop what the ledger has, and never give a number again that the ledger's mark already covers."""
    with connection:
        connection.execute("begin immediate")
        connection.execute("delete from bodies where sequence <= ?", (above,))
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
            f"insert into bodies ({COLUMNS}) select {COLUMNS} from set_aside where {which} order by sequence"  # noqa: S608
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
