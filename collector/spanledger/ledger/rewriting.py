"""Put files of one day together into one, entry for entry, sorted for reading."""

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import RemoveAction

from spanledger.ledger.compaction import File, Group
from spanledger.ledger.files import DESCRIBED, GROUP_ROWS, STORED, repeats, statistics, write_portions
from spanledger.ledger.table import Ledger, LedgerError

#: A tenant's entries lie together, so that a question about one tenant reads few row groups.
ORDER = [("tenant", "ascending"), ("occurred_at", "ascending")]
#: Columns that are there, and plain, whatever they hold: for the order and for what the log says.
_SORTED = DESCRIBED
_TYPES = {field.name: field.type for field in STORED}
_REPEATING = [field.name for field in STORED if field.type == pa.string() and repeats(field.name) and field.name not in _SORTED]
_COUNT = ""


def put_together(ledger: Ledger, group: Group, now: datetime) -> None:
    """Replace a group's files by one in one commit; the entries, and the journal's mark, stay what they are.

    Raises `LedgerError` naming the file when one of them is not what the log says, `Replaced` when one is gone; nothing is
    changed then.
    """
    entries = _gathered([_read(ledger, file) for file in group.files])
    order = pc.sort_indices(entries, sort_keys=ORDER)
    added = write_portions(
        ledger.filesystem, ledger.local, group.files[0].day,
        (_whole(entries.take(order.slice(at, GROUP_ROWS))) for at in range(0, len(entries), GROUP_ROWS)), statistics(entries),
        data_change=False, prefix="ordered-" if group.finally_ else "",
    )  # fmt: skip
    del entries, order
    pa.default_memory_pool().release_unused()
    removals = [removal(file, now, data_change=False) for file in group.files]
    with ledger.lock:
        ledger.table.update_incremental()
        ledger.commit([added, *removals], [])


def removal(file: File, now: datetime, *, data_change: bool) -> RemoveAction:
    """The log action that takes a file out of the table."""
    return RemoveAction(file.path, data_change, int(now.timestamp() * 1000), file.bytes, {"day": file.day.isoformat()})


def _read(ledger: Ledger, file: File) -> dict[str, pa.ChunkedArray]:
    """The columns of one file in which there is anything; texts that repeat as dictionaries. Most columns are empty: as
    arrays of nulls they would take most of the memory."""
    try:
        with ledger.filesystem.open_input_file(file.path) as source:
            footer = pq.read_metadata(source)
            filled, count = _filled(footer), footer.num_rows
            repeating = [name for name in _REPEATING if name in filled]
            found = pq.ParquetFile(source, metadata=footer, read_dictionary=repeating).read(filled, use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise LedgerError(f"{file.path} cannot be read: {error}") from error
    if count != file.rows:
        raise LedgerError(f"{file.path} holds {count} entries, the log says {file.rows}")
    return {name: found.column(name) for name in found.column_names if name in _TYPES} | {_COUNT: pa.nulls(count)}


def _filled(footer: pq.FileMetaData) -> list[str]:
    """The columns of a file that are not null everywhere."""
    filled = set(_SORTED)
    for group in range(footer.num_row_groups):
        rows = footer.row_group(group)
        for at in range(rows.num_columns):
            column = rows.column(at)
            name = column.path_in_schema.split(".")[0]
            known = column.statistics is not None and column.statistics.has_null_count
            if name not in filled and not (known and column.statistics.null_count == column.num_values):
                filled.add(name)
    return sorted(filled)


def _gathered(files: list[dict[str, pa.ChunkedArray]]) -> pa.Table:
    """The rows of all files, column by column, each let go of as soon as it is copied."""
    counts = [len(file.pop(_COUNT)) for file in files]
    columns = {}
    for name in sorted({name for file in files for name in file}):
        as_text = name in _SORTED
        kind = _TYPES[name] if as_text or name not in _REPEATING else pa.dictionary(pa.int32(), pa.string())
        parts = [file.pop(name).cast(kind) if name in file else pa.nulls(n, kind) for file, n in zip(files, counts, strict=True)]
        chunks = [chunk for part in parts for chunk in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
        columns[name] = pa.chunked_array(chunks, kind).unify_dictionaries().combine_chunks()
    return pa.table(columns)


def _whole(entries: pa.Table) -> pa.Table:
    """All columns of a file, in their types and order."""
    nothing = len(entries)
    columns = [
        entries.column(field.name).cast(field.type) if field.name in entries.column_names else pa.nulls(nothing, field.type)
        for field in STORED
    ]
    return pa.Table.from_arrays(columns, schema=STORED)
