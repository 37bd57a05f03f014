"""Write one Parquet file of entries so that it is on disk, sorted out by day and described for the log."""

import os
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from spanledger.ledger.schema import ENTRIES

#: What a file holds: the day is in its folder's name.
STORED = pa.schema([field for field in ENTRIES if field.name != "day"])

#: Columns whose least and greatest value stand in the log, so that a reader can leave out whole files: `kind` is how
#: `connect` finds the few files with corrections, the times are how SQL and look-ups find a range.
DESCRIBED: tuple[str, ...] = ("kind", "occurred_at", "recorded_at", "tenant")

#: Columns of ever new values, where a dictionary costs memory and gains nothing. Ids without the length before each, and
#: times as differences, which readers of Parquet have known for years: 90 bytes an entry became 81 (`bench/queries.py`).
_ENCODED = {
    **dict.fromkeys(("entry_id", "trace_id", "span_id", "response_id"), "DELTA_LENGTH_BYTE_ARRAY"),
    **dict.fromkeys(("occurred_at", "recorded_at"), "DELTA_BINARY_PACKED"),
}
_WITHOUT_DICTIONARY = {*_ENCODED, "duration_seconds", "cost_usd", "list_cost_usd", "input_cost_usd", "attributes"}

#: Rows of a row group: one tenant of a sorted day lies in one or two, and a question about it reads all of those. For two days
#: that took 2 ms with 61,440 rows, and takes one; with fewer still, what describes 91 columns in each begins to weigh.
GROUP_ROWS = 20_480
#: More does not pay: most bytes are random ids and measures, and at 3 an entry takes 81.4 bytes instead of 80.5.
_ZSTD_LEVEL = 1


def repeats(name: str) -> bool:
    """Whether a column's values are worth a dictionary."""
    return name not in _WITHOUT_DICTIONARY


def by_day(entries: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """The entries of each day, oldest day first; one day, the usual case, is not copied."""
    days = sorted(pc.unique(entries.column("day")).to_pylist())
    for day in days:
        yield day, entries if len(days) == 1 else entries.filter(pc.equal(entries.column("day"), pa.scalar(day, pa.date32())))


def write_file(files: pyarrow.fs.FileSystem, local: Path | None, day: date, entries: pa.Table) -> AddAction:
    """Write the entries of one day in the order in which they are; see `write_portions`."""
    return write_portions(files, local, day, [entries.drop_columns(["day"])], statistics(entries))


def write_portions(
    files: pyarrow.fs.FileSystem,
    local: Path | None,
    day: date,
    portions: Iterable[pa.Table],
    described: str,
    *,
    data_change: bool = True,
    prefix: str = "",
) -> AddAction:
    """Write entries of one day, without that column, under `day=YYYY-MM-DD/`; gives the log action that will make them visible.

    `described` are the statistics of all of them. `local` is the table's folder when it is on this machine: then file and
    folder are fsynced before this returns. What could not be written whole is deleted, since on a full disk one try after
    the other would take what room there is.
    """
    folder = f"day={day.isoformat()}"
    path = f"{folder}/{prefix}{uuid4().hex}.parquet"
    if local is None:
        with files.open_output_stream(path) as out:
            _write(out, portions)
            size = out.tell()
    else:
        created = not (local / folder).exists()
        (local / folder).mkdir(exist_ok=True)
        try:
            with (local / path).open("wb") as out:
                _write(out, portions)
                out.flush()
                os.fsync(out.fileno())
                size = out.tell()
        except BaseException:
            (local / path).unlink(missing_ok=True)
            raise
        fsync_folder(local / folder)
        if created:
            fsync_folder(local)
    return AddAction(
        path=path,
        size=size,
        partition_values={"day": day.isoformat()},
        modification_time=int(datetime.now().astimezone().timestamp() * 1000),
        data_change=data_change,
        stats=described,
    )


def _write(out: Any, portions: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(
        out,
        STORED,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=[name for name in STORED.names if repeats(name)],
        column_encoding=_ENCODED,
        # The Arrow schema repeats what Parquet's says, with ten kilobytes of descriptions in every file.
        store_schema=False,
        # So that changed bytes can be told at all: otherwise they are other numbers.
        write_page_checksum=True,
    ) as writer:
        for portion in portions:
            writer.write_table(portion, row_group_size=GROUP_ROWS)


def fsync_file(path: Path) -> None:
    """Return when the file's bytes are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Return when the folder's list of names is on disk: without this a new file can vanish in a power cut."""
    fsync_file(folder)


def statistics(entries: pa.Table) -> str:
    """What the log says of a file with these entries, so that readers can leave it out; needs the columns `DESCRIBED`."""
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in DESCRIBED:
        column = entries.column(name)
        nulls[name] = column.null_count
        if column.null_count < len(column):
            bounds = pc.min_max(column).as_py()
            least[name], greatest[name] = _json(bounds["min"]), _json(bounds["max"])
    return orjson.dumps({"numRecords": len(entries), "minValues": least, "maxValues": greatest, "nullCount": nulls}).decode()


def _json(bound: Any) -> Any:
    return bound.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(bound, datetime) else bound
