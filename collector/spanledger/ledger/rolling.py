"""Maintain the roll-up: sum up files of entries that will stay a while, and keep a month's sums in few files.

Works in DuckDB with bounded memory, one thread and a folder to spill to, beside the collector's own work.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow.parquet as pq

from spanledger.ledger import rollup
from spanledger.ledger.compaction import File
from spanledger.ledger.connect import reading
from spanledger.ledger.files import fsync_file, fsync_folder
from spanledger.ledger.rollup import Grain, Manifest, Segment, quoted
from spanledger.ledger.schema import MEASURES
from spanledger.ledger.table import Ledger
from spanledger.ledger.version import missing_columns

#: Smaller files of a day that is not over are soon put together: readers sum them up themselves.
WORTH_ROWS = 4_096
#: Segments of one month that make it worth putting them together.
FAN = 4
_MEMORY = "128MB"


def roll_up(ledger: Ledger, files: Iterable[File]) -> int:
    """Sum up those of a snapshot's files that are worth it and have no sums yet; gives how many files that were.

    Where the table is not on this machine there is no roll-up, and readers sum up entries.
    """
    local = ledger.local
    if local is None:
        return 0
    live = {file.path: file for file in files}
    manifest = rollup.sound(local, rollup.read_manifest(local))
    known = manifest.sources
    by_month: defaultdict[str, list[str]] = defaultdict(list)
    for path, file in live.items():
        if path not in known and (file.ordered or file.rows >= WORTH_ROWS):
            by_month[rollup.month_of(file.day)].append(path)
    for month in sorted(by_month):
        manifest = _with(ledger, local, manifest, month, sorted(by_month[month]), set(live))
    dead = tuple(segment for segment in manifest.segments if not live.keys() & set(segment.sources))
    if dead:
        manifest = Manifest(tuple(segment for segment in manifest.segments if segment not in dead))
        rollup.write_manifest(local, manifest)
    return sum(map(len, by_month.values()))


def _with(ledger: Ledger, local: Path, manifest: Manifest, month: str, new: list[str], live: set[str]) -> Manifest:
    """The manifest with the sums of these files: beside the month's segments, or in one with them when they are many."""
    old = [segment for segment in manifest.segments if segment.month == month]
    stale = sum(source not in live for segment in old for source in segment.sources)
    joined = old if len(old) + 1 >= FAN or stale > FAN else []
    sources = [source for segment in joined for source in segment.sources if source in live] + new
    segment = Segment(name=f"{month}-{uuid4().hex}", month=month, sources=tuple(sources), sizes={})
    (local / rollup.FOLDER).mkdir(exist_ok=True)
    number = {source: at for at, source in enumerate(sources)}
    with duckdb.connect() as connection:
        _bounded(connection, local)
        _gather(connection, ledger, local, joined, new, number)
        _write(connection, local, segment, "fine", "from sums")
        unused = {name for name in MEASURES if connection.execute(f'select count("{name}") from sums').fetchone() == (0,)}  # noqa: S608
        _write(connection, local, segment, "coarse", rollup.of_sources("coarse", "from sums", unused))
    fsync_folder(local / rollup.FOLDER)
    changed = Manifest((*(one for one in manifest.segments if one not in joined), segment))
    rollup.write_manifest(local, changed)
    fsync_folder(local / rollup.FOLDER)
    return changed


def _gather(
    connection: duckdb.DuckDBPyConnection,
    ledger: Ledger,
    local: Path,
    joined: list[Segment],
    new: list[str],
    number: dict[str, int],
) -> None:
    """Fill the table `sums` with the fine sums by source: those that are known, under their new number, and of new files."""
    types = {"source": "integer", **rollup.columns("fine")}
    connection.execute(f"create table sums ({', '.join(f'{chr(34)}{name}{chr(34)} {kind}' for name, kind in types.items())})")
    for segment in joined:
        kept = {at: number[source] for at, source in enumerate(segment.sources) if source in number}
        if kept:
            renumbered = "map {" + ", ".join(f"{old}: {at}" for old, at in kept.items()) + "}"
            path = quoted(str(local / segment.file("fine")))
            connection.execute(
                f"insert into sums by name select * replace ({renumbered}[source]::integer as source) from read_parquet({path}) "  # noqa: S608
                f"where source in ({', '.join(map(str, kept))})"
            )
    lacking = missing_columns(ledger.table)
    for path in new:
        rows = reading([str(local / path)], lacking, by_name=True)
        numbered = f"from (select {number[path]}::integer as source, * from ({rollup.slotted(rows)}))"  # noqa: S608
        connection.execute("insert into sums by name " + rollup.of_sources("fine", numbered, _unused(local / path)))


def _unused(path: Path) -> set[str]:
    """Measures of which a file has none: leaving them out of the sums takes a third of the memory."""
    footer = pq.read_metadata(path)
    used = set()
    for group in range(footer.num_row_groups):
        rows = footer.row_group(group)
        for at in range(rows.num_columns):
            column = rows.column(at)
            known = column.statistics is not None and column.statistics.has_null_count
            if not known or column.statistics.null_count < column.num_values:
                used.add(column.path_in_schema)
    return set(MEASURES) - used


def _write(connection: duckdb.DuckDBPyConnection, local: Path, segment: Segment, grain: Grain, rows: str) -> None:
    path = local / segment.file(grain)
    first = '"tenant", "slot"' if grain == "fine" else '"slot", "model"'
    try:
        connection.execute(
            f"copy (select * from ({rows}) order by {first}) to {quoted(str(path))} "  # noqa: S608
            "(format parquet, compression zstd, row_group_size 61440)"
        )
        fsync_file(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    segment.sizes[grain] = path.stat().st_size


def _bounded(connection: duckdb.DuckDBPyConnection, local: Path) -> None:
    spill = local / rollup.FOLDER / "spill"
    shutil.rmtree(spill, ignore_errors=True)  # of a process that was killed
    for setting in (
        "timezone = 'UTC'", "threads = 1", f"memory_limit = '{_MEMORY}'", f"temp_directory = {quoted(str(spill))}",
        "preserve_insertion_order = false",
    ):  # fmt: skip
        connection.execute(f"set {setting}")
