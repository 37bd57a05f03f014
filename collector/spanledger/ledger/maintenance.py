"""Keeps the ledger small and quick while it is written and read: compaction, roll-up, checkpoints, retention, deletion.

Nothing here changes an entry. Everything is one commit or can be repeated, so a `kill -9` leaves at worst a file that
no snapshot names, and a later sweep deletes it.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial

import duckdb
import pyarrow as pa

from spanledger.ledger.compaction import File, Group, plan
from spanledger.ledger.damage import damaged_files, note_unreadable, stamp_of
from spanledger.ledger.keeper import alone
from spanledger.ledger.log import Log
from spanledger.ledger.opening import open_table
from spanledger.ledger.rewriting import put_together, removal
from spanledger.ledger.rolling import roll_up
from spanledger.ledger.sweep import Sweep
from spanledger.ledger.table import Ledger, LedgerError, Replaced

logger = logging.getLogger(__name__)

#: How long a file that no snapshot names any more stays for readers that do not pin their version, such as Spark.
GRACE_SECONDS = 600.0
_ROUND_SECONDS = 5.0
#: By how much the clock may run ahead of the time that has passed before days are no longer dropped by it.
_JUMP = timedelta(hours=12)
#: Of the time, so that intake always goes first: as long as a step took, maintenance then rests.
_REST = 1.0
#: While intake is behind, a round is put off by so long at most: files become a few hundred more, and are put together after.
_MOST_PUT_OFF_SECONDS = 60.0


@dataclass(slots=True)
class Keeping:
    """What maintenance has done since the start, and what it found last, for the operator."""

    files: int = 0
    bytes: int = 0
    compactions: int = 0
    rolled_up: int = 0
    removed: int = 0
    waiting: int = 0
    checkpoints: int = 0
    log_entries_removed: int = 0
    expired_files: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    failing: str = ""
    kept_elsewhere: bool = False
    last_round_at: datetime | None = None


class Maintenance:
    """Works in a thread of its own between `start` and `stop`; `round` does one round at once."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        retention: timedelta | None = None,
        clock: Callable[[], datetime] | None = None,
        grace_seconds: float = GRACE_SECONDS,
        round_seconds: float = _ROUND_SECONDS,
        behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """`retention` drops whole days that ended longer ago than that; None keeps all. `behind` says whether intake is."""
        self.progress = Keeping()
        self._ledger, self._retention, self._pause = ledger, retention, round_seconds
        self._clock = clock or (lambda: datetime.now(UTC))
        self._began = (datetime.now(UTC), time.monotonic()) if clock is None else None
        self._said_jumped = False
        self._behind = behind
        self._sweep = Sweep(ledger, grace_seconds)
        self._log = Log(ledger, grace_seconds)
        #: Files that could not be put together although they can be read: they are left where they are, and the rest goes on.
        self._odd: set[str] = set()
        #: Path → stamp, as it was first seen: whatever changes a file of entries damages it.
        self._stamps: dict[str, str] = {}
        self._suspected = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spanledger-maintenance", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Begin nothing more; returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """End after the step under way."""
        self.end()
        if self._thread.is_alive():
            self._thread.join()

    def round(self) -> None:
        """Drop what is too old, put small files together, sum up, checkpoint, delete what nobody names.

        Nothing when another process is just doing so.
        """
        with alone(self._ledger.local) as mine:
            if mine:
                self._round()
        self.progress.kept_elsewhere = not mine

    def _round(self) -> None:
        self._timed("retention", self._expire)
        sound = self._sound()
        for group in plan([file for file in sound if file.path not in self._odd], self._clock()):
            if self._stopping.is_set():
                return
            self._timed("compaction", partial(self._put_together, group))
        # Between compaction and here the files have changed.
        sound = self._sound()
        self.progress.rolled_up += self._timed("rollup", lambda: self._roll_up(sound))
        self.progress.checkpoints += self._timed("log", self._log.checkpoint)
        self.progress.log_entries_removed += self._timed("log", self._log.clean_up)
        self.progress.removed += self._timed("sweep", self._sweep.once)
        self.progress.waiting = self._sweep.waiting
        self.progress.files, self.progress.bytes = len(sound), sum(file.bytes for file in sound)
        self.progress.last_round_at = self._clock()

    def _run(self) -> None:
        _step_back()
        since = time.monotonic()
        while not self._stopping.wait(self._pause):
            if self._behind() and time.monotonic() - since < _MOST_PUT_OFF_SECONDS:
                continue
            since = time.monotonic()
            try:
                self.round()
                self.progress.failing = ""
            except Exception as error:
                if str(error) != self.progress.failing:
                    logger.exception("maintenance of the ledger failed and is tried again")
                self.progress.failing = str(error)

    def _timed(self, step: str, run: Callable[[], int | None]) -> int:
        began = time.perf_counter()
        try:
            return int(run() or 0)
        finally:
            took = time.perf_counter() - began
            self.progress.seconds[step] = self.progress.seconds.get(step, 0.0) + took
            if threading.current_thread() is self._thread:
                self._stopping.wait(took * _REST)

    def _sound(self) -> list[File]:
        """The files of the newest snapshot that are as they were written. One that has changed is read, and left out by everybody
        from then on when it is not whole."""
        with self._ledger.lock:
            files = files_of(self._ledger)
        local = self._ledger.local
        if local is not None:
            stamps = {file.path: stamp_of(local / file.path) for file in files}
            changed = {path for path, stamp in stamps.items() if self._stamps.get(path, stamp) != stamp}
            suspected, self._suspected = self._suspected, False
            if suspected or changed:
                self._note(stamps if suspected else changed)
            self._stamps = stamps
        with self._ledger.lock:
            found = [] if local is None else damaged_files(self._ledger.table, local)
        said = [str(one) for one in found]
        for one in said:
            if one not in self.progress.damaged:
                logger.error("damaged: %s; the rest is served, see `spanledger doctor`", one)
        self.progress.damaged = said
        gone = {one.path for one in found}
        return [file for file in files if file.path not in gone]

    def _expire(self) -> None:
        if self._retention is None:
            return
        now = self._clock()
        if self._jumped(now):
            if not self._said_jumped:
                logger.error("the clock has jumped ahead to %s: no day is dropped for its age before a restart", now)
            self._said_jumped = True
            return
        first_kept = (now - self._retention).date()
        with self._ledger.lock:
            expired = [file for file in files_of(self._ledger) if file.day < first_kept]
            if expired:
                try:
                    self._ledger.commit([removal(file, now, data_change=True) for file in expired], [])
                except Replaced:  # another collector, or `repair`, was quicker
                    return
        if expired:
            self.progress.expired_files += len(expired)
            logger.warning("%d files of days before %s are past their retention and were dropped", len(expired), first_kept)

    def _jumped(self, now: datetime) -> bool:
        """A clock that is set wrong for a minute must not cost a year of entries."""
        if self._began is None:
            return False
        wall, steady = self._began
        return now - wall > timedelta(seconds=time.monotonic() - steady) + _JUMP

    def suspect(self) -> None:
        """Somebody could not read the ledger: the next round reads all of it, and leaves out what is damaged."""
        self._suspected = True

    def _note(self, paths: Collection[str]) -> bool:
        """Read some files whole, and note those that are damaged; whether there are any."""
        local = self._ledger.local
        if local is None:
            return False
        table = open_table(str(local), None)  # of its own: reading takes longer than the loop is to wait for its turn
        return table is not None and bool(note_unreadable(table, local, whole=True, among=paths))

    def _roll_up(self, sound: list[File]) -> int:
        try:
            return roll_up(self._ledger, sound)
        except (duckdb.Error, pa.ArrowException, OSError):
            if not self._note({file.path for file in sound}):
                raise
            return roll_up(self._ledger, self._sound())

    def _put_together(self, group: Group) -> None:
        try:
            put_together(self._ledger, group, self._clock())
        except Replaced:  # another collector, or `repair`, was quicker: the next round plans anew
            return
        except LedgerError as error:
            if self._note({file.path for file in group.files}):
                return
            named = [file.path for file in group.files if file.path in str(error)]
            if not named:
                raise
            self._odd.update(named)
            logger.error("%s; it stays as it is, and the rest is served", error)
            return
        self.progress.compactions += 1


def files_of(ledger: Ledger) -> list[File]:
    """The files of the newest snapshot, as the log describes them."""
    with ledger.lock:
        ledger.table.update_incremental()
        actions = pa.table(ledger.table.get_add_actions(flatten=True))
    names = set(actions.column_names)
    found = zip(
        actions.column("path").to_pylist(),
        actions.column("partition.day").to_pylist() if "partition.day" in names else [None] * len(actions),
        actions.column("num_records").to_pylist() if "num_records" in names else [None] * len(actions),
        actions.column("size_bytes").to_pylist(),
        actions.column("modification_time").cast(pa.timestamp("ms")).cast(pa.int64()).to_pylist(),
        strict=True,
    )
    return [
        File(
            path=path,
            day=day if isinstance(day, date) else date.fromisoformat(day),
            rows=rows if rows is not None else size // 50,
            bytes=size,
            written_at=datetime.fromtimestamp(written / 1000, UTC),
            ordered="/ordered-" in path,
            sorted="/sorted-" in path,
        )
        for path, day, rows, size, written in found
    ]


def _step_back() -> None:
    """Let every other thread of the process go first; only Linux gives threads a priority of their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
