"""Keeps the ledger small and quick while it is written and read: compaction, checkpoints, old log entries, retention.

Nothing here changes an entry. Everything is one commit or can be repeated, so a `kill -9` leaves at worst a file that
no snapshot names, and the next sweep deletes it.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import RemoveAction

from spanledger.ledger.compaction import File, Group, plan
from spanledger.ledger.files import write_file
from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.table import Ledger, LedgerError

logger = logging.getLogger(__name__)

#: Commits between two checkpoints: opening the table reads at most that many log entries.
CHECKPOINT_COMMITS = 100
#: How long a file that no snapshot names any more stays for readers that still have an older one.
GRACE_SECONDS = 600.0
_ROUND_SECONDS = 5.0


@dataclass(slots=True)
class Keeping:
    """What maintenance has done since the start, and what it found last, for the operator."""

    files: int = 0
    bytes: int = 0
    compactions: int = 0
    removed: int = 0
    checkpoints: int = 0
    failing: str = ""
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
    ) -> None:
        """`retention` drops whole days that ended longer ago than that; None keeps all."""
        self.progress = Keeping()
        self._ledger, self._retention, self._grace = ledger, retention, grace_seconds
        self._clock = clock or (lambda: datetime.now(UTC))
        self._checkpointed = 0
        self._unnamed: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spanledger-maintenance", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def round(self) -> None:
        """Drop what is too old, put small files together, checkpoint, delete what nobody names."""
        files = self._files()
        files = self._retained(files)
        for group in plan(files, self._clock()):
            if self._stopping.is_set():
                return
            self._put_together(group)
        self._checkpoint()
        self._sweep()
        files = self._files()
        self.progress.files, self.progress.bytes = len(files), sum(file.bytes for file in files)
        self.progress.last_round_at = self._clock()

    def _run(self) -> None:
        while not self._stopping.wait(_ROUND_SECONDS):
            try:
                self.round()
                self.progress.failing = ""
            except Exception as error:
                logger.exception("maintenance of the ledger failed and is tried again")
                self.progress.failing = str(error)

    def _files(self) -> list[File]:
        with self._ledger.lock:
            self._ledger.table.update_incremental()
            actions = pa.table(self._ledger.table.get_add_actions(flatten=True))
        names = set(actions.column_names)
        found = zip(
            actions.column("path").to_pylist(),
            actions.column("partition.day").to_pylist(),
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
            )
            for path, day, rows, size, written in found
        ]

    def _retained(self, files: list[File]) -> list[File]:
        if self._retention is None:
            return files
        first_kept = (self._clock() - self._retention).date()
        expired = [file for file in files if file.day < first_kept]
        if expired:
            with self._ledger.lock:
                self._ledger.commit([self._removal(file, data_change=True) for file in expired], [])
            logger.warning("%d files of days before %s are past their retention and were dropped", len(expired), first_kept)
        return [file for file in files if file.day >= first_kept]

    def _put_together(self, group: Group) -> None:
        ledger = self._ledger
        tables = [self._read(file) for file in group.files]
        entries = pa.concat_tables(tables)
        if group.finally_:
            # A tenant's entries lie together, so that a question about one tenant reads few row groups.
            entries = entries.sort_by([("tenant", "ascending"), ("occurred_at", "ascending")])
        added = write_file(
            ledger.filesystem, ledger.local, group.files[0].day, entries,
            level=3, data_change=False, prefix="ordered-" if group.finally_ else "",
        )  # fmt: skip
        with ledger.lock:
            ledger.table.update_incremental()
            ledger.commit([added, *(self._removal(file, data_change=False) for file in group.files)], [])
        self.progress.compactions += 1

    def _read(self, file: File) -> pa.Table:
        with self._ledger.filesystem.open_input_file(file.path) as source:
            found = pq.read_table(source)
        day = pa.repeat(pa.scalar(file.day, pa.date32()), len(found))
        named = {name: found.column(name) if name in found.column_names else None for name in ENTRIES.names}
        columns = [
            day
            if name == "day"
            else (pa.nulls(len(found), ENTRIES.field(name).type) if column is None else column.cast(ENTRIES.field(name).type))
            for name, column in named.items()
        ]
        if len(found) != file.rows:
            raise LedgerError(f"{file.path} holds {len(found)} entries, the log says {file.rows}")
        return pa.Table.from_arrays(columns, schema=ENTRIES)

    def _removal(self, file: File, *, data_change: bool) -> RemoveAction:
        now = int(self._clock().timestamp() * 1000)
        return RemoveAction(file.path, data_change, now, file.bytes, {"day": file.day.isoformat()})

    def _checkpoint(self) -> None:
        ledger = self._ledger
        version = ledger.version()
        if version - self._checkpointed < CHECKPOINT_COMMITS:
            return
        with ledger.lock:
            ledger.table.update_incremental()
            ledger.table.create_checkpoint()
            ledger.table.cleanup_metadata()
        self._checkpointed = version
        self.progress.checkpoints += 1

    def _sweep(self) -> None:
        """Delete files that no snapshot has named for the grace; the clock is the process's own, which cannot jump."""
        local = self._ledger.local
        if local is None:
            return
        with self._ledger.lock:
            named = {path.rsplit("/", 2)[-2] + "/" + path.rsplit("/", 2)[-1] for path in self._ledger.files()}
            there = {f"{path.parent.name}/{path.name}" for path in local.glob("day=*/*.parquet")}
        now = time.monotonic()
        unnamed = there - named
        self._unnamed = {name: self._unnamed.get(name, now) for name in unnamed}
        for name, since in list(self._unnamed.items()):
            if now - since >= self._grace:
                (local / name).unlink(missing_ok=True)
                del self._unnamed[name]
                self.progress.removed += 1
        for folder in local.glob("day=*"):
            if not any(name.startswith(folder.name + "/") for name in there) and not any(folder.iterdir()):
                folder.rmdir()
