"""The journal's writer: a thread that commits everything that has gathered while the last commit was under way.

Only then are the senders woken. Bodies of a group that is large go to a segment: one write and one fsync, and the rows that
follow are small. For few bytes the second fsync costs more than SQLite's second write: those stand in their rows.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from spanledger.collector.journal.file import ROW, SIZE, placed_row_of, row_of
from spanledger.collector.journal.segments import Segments, sum_of
from spanledger.collector.receive.refused import Busy
from spanledger.collector.received import Received

logger = logging.getLogger(__name__)

_COMMIT_BYTES = 32 * 1024 * 1024
#: A group of fewer bytes is kept in its rows: 20 kB cost 0.19 ms there and 0.25 in a segment, 100 kB 0.5 and 0.3.
_SEGMENT_FROM = 64 * 1024

#: What is to be done when a task's transaction is on disk.
Afterwards = Callable[[], None]
#: Runs in a transaction.
Change = Callable[[sqlite3.Connection], Afterwards | None]


class JournalWriter:
    """Owns the connection that writes, and the segments."""

    def __init__(self, connection: sqlite3.Connection, segments: Path, changed: Callable[[int, int, int], None]) -> None:
        """`changed` is told of bodies and bytes that came (or, negative, went), and the newest sequence, 0 for none.

        Raises `OSError` and `sqlite3.Error`.
        """
        self._connection, self._changed = connection, changed
        given = connection.execute("select seq from sqlite_sequence where name = 'bodies'").fetchone()
        self._given = 0 if given is None else int(given[0])
        waiting = "select segment, count(*) from bodies where segment is not null group by segment"
        self._rows = Counter[int](dict(connection.execute(waiting).fetchall()))
        self._segments = Segments(segments, self._rows.keys())
        self._work: SimpleQueue[_Appending | _Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="spanledger-journal", daemon=True)
        self._thread.start()

    def append(self, received: Received, done: "asyncio.Future[None]", loop: asyncio.AbstractEventLoop) -> None:
        """Write a body in its turn; `done` is resolved in its loop, with `Busy` when the body could not be written."""
        self._work.put(_Appending(received, done, loop))

    def ask(self, change: Change) -> "_Task":
        """Change something in its turn; returns at once."""
        task = _Task(change)
        self._work.put(task)
        return task

    def stop(self) -> None:
        """Finish what was asked for, and close the files."""
        self._work.put(None)
        self._thread.join()
        self._segments.close()
        self._connection.close()

    def delete(self, connection: sqlite3.Connection, which: str, sequence: int) -> Afterwards:
        """Delete rows in a transaction; gives what is to be done when it is on disk."""
        gone = connection.execute(
            f"select segment, count(*), sum({SIZE}) from bodies where {which} group by segment", (sequence,)  # noqa: S608
        ).fetchall()  # fmt: skip
        connection.execute(f"delete from bodies where {which}", (sequence,))  # noqa: S608

        def afterwards() -> None:
            self._changed(-sum(row[1] for row in gone), -sum(row[2] for row in gone), 0)
            self._rows.subtract({segment: count for segment, count, _ in gone if segment is not None})
            if emptied := [segment for segment, count in self._rows.items() if not count]:
                for segment in emptied:
                    del self._rows[segment]
                self._segments.keep(self._rows.keys())

        return afterwards

    def came(self, connection: sqlite3.Connection, bodies: int, size: int) -> Afterwards:
        """What is to be done when rows that a transaction brought by itself are on disk."""
        last = int(connection.execute("select seq from sqlite_sequence where name = 'bodies'").fetchone()[0])

        def afterwards() -> None:
            self._given = last
            self._changed(bodies, size, last)

        return afterwards

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
        bodies = [replace(one.received, sequence=self._given + number) for number, one in enumerate(group, start=1)]
        try:
            if size < _SEGMENT_FROM:
                self._insert([(body.sequence, *row_of(body), None, None, None) for body in bodies])
            else:
                sums = [sum_of(body.body) for body in bodies]
                places = self._segments.append(bodies, sums)
                try:
                    self._insert([placed_row_of(*row) for row in zip(bodies, sums, places, strict=True)])
                except Exception:
                    self._segments.take_back()
                    raise
                self._rows[places[0].segment] += len(places)
        except Exception as error:
            logger.error("%d bodies could not be journalled and were refused: %s", len(group), error)
            refused = Busy(f"the journal cannot be written: {error}")
            self._shorten()
        else:
            self._given = bodies[-1].sequence
            self._changed(len(group), size, self._given)
        for loop in {one.loop for one in group}:
            loop.call_soon_threadsafe(_answer, [one.done for one in group if one.loop is loop], refused)

    def _insert(self, rows: Iterable[tuple[object, ...]]) -> None:
        with self._connection:
            self._connection.execute("begin immediate")
            self._connection.executemany(
                f"insert into bodies ({ROW}) values ({', '.join('?' * 11)})", rows  # noqa: S608
            )  # fmt: skip

    def _perform(self, task: "_Task") -> None:
        try:
            try:
                afterwards = self._changed_by(task)
            except sqlite3.OperationalError as error:
                if "full" not in str(error):
                    raise
                self._shorten()  # what is to be deleted gives room, but itself needs some
                afterwards = self._changed_by(task)
            if afterwards is not None:
                afterwards()
        except Exception as error:
            task.error = error
            logger.error("the journal could not be changed: %s", error)
        finally:
            task.finished.set()

    def _changed_by(self, task: "_Task") -> Afterwards | None:
        with self._connection:
            self._connection.execute("begin immediate")
            return task.change(self._connection)

    def _shorten(self) -> None:
        """Bring what SQLite has written ahead to where it belongs, so that its room can be used again."""
        with suppress(sqlite3.Error):
            self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()


class _Appending:
    __slots__ = ("done", "loop", "received")

    def __init__(self, received: Received, done: "asyncio.Future[None]", loop: asyncio.AbstractEventLoop) -> None:
        self.received, self.done, self.loop = received, done, loop


class _Task:
    def __init__(self, change: Change) -> None:
        self.change = change
        self.finished = threading.Event()
        self.error: Exception | None = None


def _answer(waiting: "Iterable[asyncio.Future[None]]", refused: Busy | None) -> None:
    for done in waiting:
        if done.cancelled():
            continue
        if refused is None:
            done.set_result(None)
        else:
            done.set_exception(Busy(str(refused)))
