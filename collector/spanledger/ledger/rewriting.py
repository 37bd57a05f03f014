"""Put files of one day together into one, entry for entry, sorted for reading.

Only what the order goes by is held of all rows. Files that are in that order already, as all are that were put together before,
are read bit by bit; the others, which were just posted, are held whole (`compaction.HELD_ROWS`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import RemoveAction

from spanledger.ledger.compaction import File, Group
from spanledger.ledger.files import DESCRIBED, GROUP_ROWS, STORED, statistics, write_portions
from spanledger.ledger.merged import Part, Places, Rows
from spanledger.ledger.table import Ledger

#: A tenant's entries lie together, so that a question about one tenant reads few row groups.
ORDER = [("tenant", "ascending"), ("occurred_at", "ascending")]
#: Rows of a row group in files of a day that is not over: each is made whole in memory before it is written, and read when the
#: file is put together with others again.
_PASSING_ROWS = 8_192
_DESCRIBED = pa.schema([STORED.field(name) for name in DESCRIBED])


def put_together(ledger: Ledger, group: Group, now: datetime) -> None:
    """Replace a group's files by one in one commit; the entries, and the journal's mark, stay what they are.

    Raises `LedgerError` naming the file when one of them is not what the log says, `Replaced` when one is gone; nothing is
    changed then.
    """
    # What the heap holds and does not use would stand beside what this takes.
    pa.default_memory_pool().release_unused()
    with ExitStack() as opened:
        files = [opened.enter_context(Rows(ledger, file)) for file in group.files]
        described = pa.concat_tables([rows.described().cast(_DESCRIBED) for rows in files])
        said = statistics(described)
        order: Places = pc.sort_indices(described, sort_keys=ORDER).to_numpy().astype(np.int64)
        del described
        portions = _sorted(files, order, GROUP_ROWS if group.finally_ else _PASSING_ROWS)
        added = write_portions(
            ledger.filesystem, ledger.local, group.files[0].day, portions, said,
            data_change=False, prefix="ordered-" if group.finally_ else "sorted-",
        )  # fmt: skip
    pa.default_memory_pool().release_unused()
    removals = [removal(file, now, data_change=False) for file in group.files]
    with ledger.lock:
        ledger.table.update_incremental()
        ledger.commit([added, *removals], [])


def removal(file: File, now: datetime, *, data_change: bool) -> RemoveAction:
    """The log action that takes a file out of the table."""
    return RemoveAction(file.path, data_change, int(now.timestamp() * 1000), file.bytes, {"day": file.day.isoformat()})


def _sorted(files: Sequence[Rows], order: Places, at_once: int) -> Iterator[pa.Table]:
    """The rows of all files in this order, so many at a time."""
    begins = np.cumsum([0, *(rows.count for rows in files)])
    of = (np.searchsorted(begins, order, side="right") - 1).astype(np.int16)
    for at, rows in enumerate(files):
        places = order[of == at]
        rows.begin(in_order=bool((places[1:] > places[:-1]).all()))
    nothing: dict[pa.DataType, pa.Array] = {kind: pa.nulls(min(len(order), at_once), kind) for kind in set(STORED.types)}
    for at in range(0, len(order), at_once):
        wanted, which = order[at : at + at_once], of[at : at + at_once]
        parts = [files[file].take(wanted[which == file] - begins[file]) for file in np.unique(which).tolist()]
        place = np.empty(len(wanted), dtype=np.int64)
        place[np.argsort(which, kind="stable")] = np.arange(len(wanted))
        yield _whole(parts, place, nothing)


def _whole(parts: Sequence[Part], place: Places, nothing: Mapping[pa.DataType, pa.Array]) -> pa.Table:
    """All columns of a file, in their types and order: of the parts laid end to end the rows at these places."""
    rows = pa.array(place)
    columns = []
    for name, kind in zip(STORED.names, STORED.types, strict=True):
        found = [part.column(name) for part in parts]
        if all(column is None for column in found):
            columns.append(nothing[kind].slice(0, len(place)))
            continue
        laid = [
            nothing[kind].slice(0, part.count) if column is None else column.cast(kind)
            for part, column in zip(parts, found, strict=True)
        ]
        del found
        columns.append(laid[0] if len(laid) == 1 else pa.concat_arrays(laid).take(rows))
    return pa.Table.from_arrays(columns, schema=STORED)
