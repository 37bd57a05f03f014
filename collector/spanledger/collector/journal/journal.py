"""The journal: bodies that were acknowledged and are not yet in the ledger, one fsync for many.

`journal_writer.py` writes them, SQLite says what is there and how far each reader has read (`journal_file.py`), and large
bodies stand in files beside it (`segments.py`).
"""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from spanledger.collector.journal.file import (
    COLUMNS,
    ROW,
    SIZE,
    JournalError,
    connected,
    read,
    received_of,
    row_of,
    segments_of,
)
from spanledger.collector.journal.opening import opened
from spanledger.collector.journal.segments import EPOCH, Bodies
from spanledger.collector.journal.writer import Afterwards, Change, JournalWriter
from spanledger.collector.receive.refused import Busy
from spanledger.collector.received import Received

#: The reader that every journal has.
LEDGER = "ledger"


class Journal:
    """Append from one event loop, read and drop from one other thread."""

    def __init__(self, path: Path, *, limit_bytes: int, above: int = 0, readers: Collection[str] = (), name: str = "") -> None:
        """Open or make the journal. `above` is the ledger's mark: it needs no body up to there, and numbers go on from there.

        `name` is what it is called, and is kept in it. `readers` are others that must have had a body before it is dropped. Past
        `limit_bytes` of waiting bodies `append` raises `Busy`. Raises `JournalError`.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        try:
            writing = opened(path, above)
            self._reading = connected(path)
            self._asking = connected(path)  # for threads that only want figures
            self._marks = _marks(writing, above, readers)
            _start_above(writing, above, min(self._marks.values()))
            with writing:
                writing.execute("begin immediate")
                _brought_back(writing, "again > 0")
                writing.execute("delete from named")
                writing.executemany("insert into named (name) values (?)", [(name,)] if name else [])
            row = writing.execute(f"select count(*), coalesce(sum({SIZE}), 0), max(sequence) from bodies").fetchone()  # noqa: S608
            self._writer = JournalWriter(writing, segments_of(path), self._noted)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal {path} cannot be opened: {error}") from error
        self.bodies: int = row[0]
        self.bytes: int = row[1]
        self._unread: int = self.bytes
        self._last: int = row[2] or above
        self._promised = 0
        self._changed = threading.Condition()
        self._asking_lock = threading.Lock()
        self._closed = False

    async def append(self, received: Received) -> None:
        """Return when the body is on disk; raises `Busy` when the journal or the disk is full."""
        size = len(received.body)
        if self.bytes + self._promised + size > self.limit_bytes:
            waiting = f"{self.bytes} bytes wait for the ledger or the backend behind"
            raise Busy(f"the journal is full: {waiting}, {self.limit_bytes} are allowed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._promised += size
        self._writer.append(received, done, loop)
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

    def take(self, after: int, *, enough_bytes: int, most: int | None = None) -> list[Received]:
        """The oldest bodies above `after`, about `enough_bytes` and at most `most` of them, at least one if there is any.

        A body whose bytes are not what was written is set aside.
        """
        while True:
            intact, damaged, size = read(self._reading, segments_of(self.path), after, enough_bytes, most=most)
            for sequence in damaged:
                self.set_aside(sequence, "the journal's file is damaged: the body is not what was received")
            with self._changed:
                self._unread = max(0, self._unread - size)
            if intact or not damaged:
                return intact
            after = damaged[-1]

    def put_back(self, size: int) -> None:
        """So many bytes of what was taken will be taken again."""
        with self._changed:
            self._unread += size

    @property
    def unread(self) -> int:
        """Bytes of bodies that have not been taken yet."""
        return self._unread

    def between(self, after: int, upto: int) -> list[Received]:
        """The bodies above `after` up to `upto` once more, for whoever has taken them and must look again."""
        connection = connected(self.path)
        try:
            return read(connection, segments_of(self.path), after, sys.maxsize, f"sequence <= {upto}")[0]
        finally:
            connection.close()

    def mark(self, reader: str = LEDGER) -> int:
        """Up to where a reader has read."""
        return self._marks[reader]

    def drop(self, upto: int, *, reader: str = LEDGER) -> None:
        """Note that a reader needs no body up to `upto` any more, and forget those that no reader needs; returns at once."""
        self._marks[reader] = max(upto, self._marks[reader])
        self._writer.ask(lambda connection: self._dropped(connection, reader, upto))

    def set_aside(self, sequence: int, reason: str, *, ours: bool = False) -> None:
        """Keep a body that cannot be decoded where it stops nobody; returns when that is on disk.

        `ours` says that a fault of this program was the reason: the next start, perhaps of a newer version, tries again.
        """

        def aside(connection: sqlite3.Connection) -> Afterwards | None:
            row = connection.execute(f"select {ROW} from bodies where sequence = ?", (sequence,)).fetchone()  # noqa: S608
            if row is None:
                return None
            with Bodies(segments_of(self.path)) as bodies:
                received, whole = received_of(row, bodies)
            now = int(datetime.now(UTC).timestamp() * 1e6)
            connection.execute(
                f"insert or replace into set_aside (sequence, {COLUMNS}, reason, again, at) values ({', '.join('?' * 11)})",  # noqa: S608
                (sequence, *row_of(received, whole=whole), reason, int(ours), now),
            )
            if set(self._marks) == {LEDGER}:  # another reader may not have had it
                return self._writer.delete(connection, "sequence = ?", sequence)
            return None

        self.run(aside)

    def run(self, change: Change) -> None:
        """Make a change in a transaction of the writer's thread; returns when it is on disk, raises what it raises."""
        task = self._writer.ask(change)
        task.finished.wait()
        if task.error is not None:
            raise task.error

    def peek(self, reader: str, *, enough_bytes: int, patience_seconds: float) -> list[Received]:
        """The next bodies for a reader other than the ledger, waiting for some; without those it has had before."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._last > self._marks[reader] or self._closed, patience_seconds):
                return []
        connection = connected(self.path)
        try:
            intact, damaged, _ = read(connection, segments_of(self.path), self._marks[reader], enough_bytes, "again = 0")
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

        def back(connection: sqlite3.Connection) -> Afterwards:
            nonlocal brought
            brought, size = _brought_back(connection, "again = 2")
            return self._writer.came(connection, brought, size)

        self.run(back)
        return brought

    def behind(self, reader: str) -> int:
        """How many bodies a reader has not had yet."""
        return int(self._ask(f"select count(*) from bodies where sequence > {self._marks[reader]}")[0])  # noqa: S608

    def count_set_aside(self) -> int:
        """How many bodies are set aside."""
        return int(self._ask("select count(*) from set_aside")[0])

    def oldest(self) -> datetime | None:
        """When the oldest body was received that waits for the ledger."""
        row = self._ask(f"select received_at from bodies where sequence > {self._marks[LEDGER]} order by sequence limit 1")  # noqa: S608
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
        self._writer.stop()
        self._reading.close()
        with self._asking_lock:
            self._asking.close()

    def _dropped(self, connection: sqlite3.Connection, reader: str, upto: int) -> Afterwards:
        connection.execute("insert or replace into marks (reader, mark) values (?, ?)", (reader, upto))
        return self._writer.delete(connection, "sequence <= ?", min(self._marks.values()))

    def _noted(self, bodies: int, size: int, last: int) -> None:
        """What the writer says of bodies that came or went."""
        with self._changed:
            self.bodies += bodies
            self.bytes += size
            self._unread += max(size, 0)
            self._last = last or self._last
            self._changed.notify_all()


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
