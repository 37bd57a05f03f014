"""The ledger as a Delta table: each batch of entries is one append, and the append carries the journal's mark."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock

import pyarrow as pa
import pyarrow.fs
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.fs import DeltaStorageHandler
from deltalake.schema import Schema
from deltalake.transaction import AddAction, RemoveAction

from spanledger.ledger import pins
from spanledger.ledger.files import by_day, fsync_file, fsync_folder, write_file
from spanledger.ledger.opening import LedgerError, local_folder, open_table, plainly
from spanledger.ledger.schema import ENTRIES, SCHEMA_VERSION
from spanledger.ledger.torn import set_aside_torn
from spanledger.ledger.version import VERSION, migrate

logger = logging.getLogger(__name__)

#: The application transaction under which the mark of a journal without a name stands in the log.
_MARK = "spanledger.journal"
#: The one that every commit bears that takes files out: Delta lets two of them pass that take out the same file, whose entries
#: would then stand in two new ones, but no two that bear the same transaction.
_REPLACED = "spanledger.replaced"

__all__ = ["Ledger", "LedgerError", "Replaced", "mark_name", "mark_of"]


class Replaced(LedgerError):
    """A file that was to be taken out of the table has been taken out by somebody else meanwhile; nothing was changed."""


_SCHEMA = Schema.from_arrow(ENTRIES)
_ATTEMPTS = 5


class Ledger:
    """Appends entries and says which files hold them.

    Safe to use from several threads, and by several processes over one table, if each has a journal of its own.
    """

    def __init__(self, table: DeltaTable, local: Path | None, journal: str = "") -> None:
        self.local = local
        self._mark = mark_name(journal)
        self._on_disk = table.version()
        self.table = table
        self.lock = RLock()
        self.filesystem = pyarrow.fs.PyFileSystem(DeltaStorageHandler.from_table(table._table))

    @classmethod
    def open(cls, url_or_path: str | Path, *, journal: str = "", storage_options: Mapping[str, str] | None = None) -> "Ledger":
        """The ledger at a folder or an object store's URL; it is made, empty, when there is none.

        `journal` names the journal whose marks go with what is posted. Raises `LedgerError` when something other than a
        readable ledger is there.
        """
        url = str(url_or_path)
        local = local_folder(url)
        if local is not None:
            url = str(local)
            set_aside_torn(local)
        options = dict(storage_options) if storage_options else None
        table = open_table(url, options) or _make(url, local, options)
        if migrate(table):
            logger.warning("the ledger %s was brought to schema version %d", url, SCHEMA_VERSION)
        if local is not None:
            pins.make(local)
        return cls(table, local, journal)

    def post(self, entries: pa.Table, mark: int | None) -> bool:
        """Append entries in one commit that says that everything up to `mark` of the journal is in.

        When this returns, files and log are on disk. Whether it was posted: a mark that the ledger has already reached is
        not posted again, so a batch can be tried until it works. `None` leaves the mark alone, for entries that did not
        come from the journal. No entries and a mark is a commit of the mark. Raises `LedgerError`.
        """
        if mark is None and not len(entries):
            return False
        if entries.schema != ENTRIES:
            entries = entries.cast(ENTRIES)
        with self.lock:
            try:
                self.table.update_incremental()
                if mark is not None and mark <= mark_of(self.table, self._mark):
                    self._log_on_disk()
                    return False
                actions = [write_file(self.filesystem, self.local, day, rows) for day, rows in by_day(entries)]
                self.commit(actions, [] if mark is None else [Transaction(self._mark, mark)])
            except (OSError, DeltaError) as error:
                raise LedgerError(f"the ledger {self.table.table_uri} could not be written: {plainly(error)}") from error
            return True

    def commit(self, actions: Sequence[AddAction | RemoveAction], transactions: Sequence[Transaction]) -> None:
        """Make file actions visible in one commit and return when the log is on disk.

        Raises `Replaced` when a file that they take out is no longer in the table, `LedgerError`.
        """
        # Checkpoints and log clean-up belong to maintenance: inside a commit they would delay the batch.
        hooks = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
        taken = {action.path for action in actions if isinstance(action, RemoveAction)}
        for attempt in range(1, _ATTEMPTS + 1):
            also = [Transaction(_REPLACED, self._check(taken) + 1)] if taken else []
            properties = CommitProperties(app_transactions=[*transactions, *also])
            try:
                self.table.create_write_transaction(
                    list(actions), "append", _SCHEMA, ["day"], commit_properties=properties, post_commithook_properties=hooks
                )
                break
            except CommitFailedError as error:
                if attempt == _ATTEMPTS:
                    raise LedgerError(f"the ledger could not be written after {attempt} attempts: {plainly(error)}") from error
                self.table.update_incremental()  # somebody else committed: try again on top of that
        self.table.update_incremental()
        self._log_on_disk()

    def _check(self, taken: set[str]) -> int:
        """Whether these files are still in the table; gives the number of the last commit that took any out."""
        there = set(pa.table(self.table.get_add_actions(flatten=True)).column("path").to_pylist())
        if gone := taken - there:
            raise Replaced(f"{min(gone)} has been taken out of the ledger {self.table.table_uri} meanwhile")
        return self.table.transaction_version(_REPLACED) or 0

    def mark(self) -> int:
        """The journal's sequence number up to which everything is in the ledger; 0 when nothing is."""
        with self.lock:
            self.table.update_incremental()
            return mark_of(self.table, self._mark)

    def files(self) -> list[str]:
        """Paths or URLs of the Parquet files of the newest snapshot."""
        with self.lock:
            self.table.update_incremental()
            return self.table.file_uris()

    def version(self) -> int:
        """The number of the newest commit that this object has seen."""
        with self.lock:
            return self.table.version()

    def _log_on_disk(self) -> None:
        """Of all that was committed since the last time: which of it is ours, and which another process's, is not told."""
        if self.local is None:
            return
        log, version = self.local / "_delta_log", self.table.version()
        for entry in range(self._on_disk, version + 1):
            try:
                fsync_file(log / f"{entry:020}.json")
            except FileNotFoundError:  # cleaned up meanwhile: it is in a checkpoint, which is on disk
                continue
        fsync_folder(log)
        self._on_disk = version


def mark_name(journal: str) -> str:
    """The application transaction under which a journal's mark stands in the log."""
    return f"{_MARK}.{journal}" if journal else _MARK


def mark_of(table: DeltaTable, name: str) -> int:
    """The mark under that name in a snapshot; 0 for none."""
    return table.transaction_version(name) or 0


def _make(url: str, local: Path | None, options: dict[str, str] | None) -> DeltaTable:
    if local is not None:
        local.mkdir(parents=True, exist_ok=True)
    table = DeltaTable.create(
        url,
        schema=_SCHEMA,
        mode="ignore",
        partition_by=["day"],
        name="entries",
        description="Spanledger: what was spent on language models, one row an entry",
        configuration={
            VERSION: str(SCHEMA_VERSION),
            # Readers open the newest snapshot each time; what is older is kept for those that are just reading it.
            "delta.logRetentionDuration": "interval 15 minutes",
            "delta.deletedFileRetentionDuration": "interval 15 minutes",
            "delta.checkpointInterval": "100",
        },
        storage_options=options,
        raise_if_key_not_exists=False,
    )
    if local is not None:
        fsync_file(local / "_delta_log" / f"{0:020}.json")
        fsync_folder(local / "_delta_log")
        fsync_folder(local)
        fsync_folder(local.parent)
    return table
