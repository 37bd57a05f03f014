"""How a table is kept: what an operator wants to know of its files, log, readers and damage."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from spanledger.ledger import pins, rollup
from spanledger.ledger.damage import Damaged, damaged_files, unreadable_files
from spanledger.ledger.opening import LedgerError, local_folder, open_table
from spanledger.ledger.torn import torn_entries
from spanledger.ledger.version import version_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Figures of one moment. `unnamed` files are on disk and in no snapshot: they wait for readers, and are then deleted."""

    version: int
    schema_version: int
    files: int
    entries: int
    bytes: int
    summed_entries: int
    unnamed: int
    unnamed_bytes: int
    log_entries: int
    oldest_reader: int | None
    damaged: tuple[Damaged, ...]
    torn: tuple[Path, ...]


def health(location: str | Path) -> Health:
    """Look at a table in a folder, or at a URL, where only its log can be. Raises `LedgerError` when it cannot be opened."""
    location = str(location)
    table = open_table(location, None)
    if table is None:
        raise LedgerError(f"there is no ledger in {location}")
    folder = local_folder(location)
    actions = pa.table(table.get_add_actions(flatten=True))
    paths = actions.column("path").to_pylist()
    counts = [0] * len(paths)
    if "num_records" in actions.column_names:
        counts = [count or 0 for count in actions.column("num_records").to_pylist()]
    sums: set[str] = set()
    unnamed: list[Path] = []
    log_entries = 0
    if folder is not None:
        sums, named = rollup.sound(folder, rollup.read_manifest(folder)).sources, set(paths)
        unnamed = [path for path in folder.glob("day=*/*.parquet") if f"{path.parent.name}/{path.name}" not in named]
        log_entries = sum(path.stem.isdigit() for path in (folder / "_delta_log").glob("*.json"))
    return Health(
        version=table.version(),
        schema_version=version_of(table),
        files=len(paths),
        entries=sum(counts),
        bytes=sum(actions.column("size_bytes").to_pylist()),
        summed_entries=sum(count for path, count in zip(paths, counts, strict=True) if path in sums),
        unnamed=len(unnamed),
        unnamed_bytes=sum(_size(path) for path in unnamed),
        log_entries=log_entries,
        oldest_reader=None if folder is None else pins.least(folder),
        damaged=() if folder is None else (*damaged_files(table, folder), *unreadable_files(table, folder, whole=False)),
        torn=() if folder is None else tuple(torn_entries(folder)),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # deleted meanwhile
        return 0
