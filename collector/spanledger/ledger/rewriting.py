"""Put files of one day together into one, entry for entry, sorted for reading."""

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import RemoveAction

from spanledger.ledger.compaction import File, Group
from spanledger.ledger.files import write_file
from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.table import Ledger, LedgerError

#: A tenant's entries lie together, so that a question about one tenant reads few row groups.
ORDER = [("tenant", "ascending"), ("occurred_at", "ascending")]


def put_together(ledger: Ledger, group: Group, now: datetime) -> None:
    """Replace a group's files by one in one commit; the entries, and the journal's mark, stay what they are.

    Raises `LedgerError` naming the file when one of them is not what the log says; nothing is changed then.
    """
    entries = pa.concat_tables([read(ledger, file) for file in group.files]).sort_by(ORDER)
    added = write_file(
        ledger.filesystem, ledger.local, group.files[0].day, entries,
        data_change=False, prefix="ordered-" if group.finally_ else "",
    )  # fmt: skip
    del entries
    removals = [removal(file, now, data_change=False) for file in group.files]
    with ledger.lock:
        ledger.table.update_incremental()
        ledger.commit([added, *removals], [])


def removal(file: File, now: datetime, *, data_change: bool) -> RemoveAction:
    """The log action that takes a file out of the table."""
    return RemoveAction(file.path, data_change, int(now.timestamp() * 1000), file.bytes, {"day": file.day.isoformat()})


def read(ledger: Ledger, file: File) -> pa.Table:
    """The entries of one file; columns that it does not have, because it is older than they are, are null."""
    try:
        with ledger.filesystem.open_input_file(file.path) as source:
            found = pq.read_table(source, use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise LedgerError(f"{file.path} cannot be read: {error}") from error
    if len(found) != file.rows:
        raise LedgerError(f"{file.path} holds {len(found)} entries, the log says {file.rows}")
    day = pa.repeat(pa.scalar(file.day, pa.date32()), len(found))
    columns = []
    for field in ENTRIES:
        if field.name == "day":
            columns.append(day)
        elif field.name in found.column_names:
            columns.append(found.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(len(found), field.type))
    return pa.Table.from_arrays(columns, schema=ENTRIES)
