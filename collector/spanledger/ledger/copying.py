"""Copy a table as it is at one moment, while it is written, put together and swept."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from spanledger.ledger.damage import damaged_files, sentence
from spanledger.ledger.files import fsync_file, fsync_folder
from spanledger.ledger.opening import LedgerError, open_table
from spanledger.ledger.pins import Pin
from spanledger.ledger.table import mark_name, mark_of

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy holds."""

    version: int
    files: int
    entries: int
    bytes: int


def copy_log(source: Path, target: Path, pin: Pin, journal: str) -> int:
    """Copy the log of the newest version, which `pin` then holds; gives the journal's mark in it.

    Raises `LedgerError`. A log that is cleaned up meanwhile is copied anew.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        table = open_table(str(source), None)
        if table is None:
            raise LedgerError(f"there is no ledger in {source}")
        version = table.version()
        pin.move(version)
        shutil.rmtree(target / "_delta_log", ignore_errors=True)
        (target / "_delta_log").mkdir(parents=True)
        try:
            _copy_entries(source / "_delta_log", target / "_delta_log", version)
            copied = DeltaTable(str(target))
            if copied.version() == version and sorted(_paths(copied)) == sorted(_paths(table)):
                return mark_of(copied, mark_name(journal))
            problem = f"version {copied.version()} was copied instead of {version}"
        except Exception as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        if attempt == _ATTEMPTS:
            raise LedgerError(f"the log of {source} could not be copied: {problem}")
    raise AssertionError


def copy_files(source: Path, target: Path) -> Copied:
    """Copy the files that the log in `target` names from the table at `source`; returns when they are on disk.

    Raises `LedgerError` naming what is damaged.
    """
    table = DeltaTable(str(target))
    damaged = damaged_files(table, source)
    if damaged:
        raise LedgerError(sentence(source, damaged))
    for path in _paths(table):
        (target / path).parent.mkdir(exist_ok=True)
        shutil.copy2(source / path, target / path)
        fsync_file(target / path)
        fsync_folder((target / path).parent)
    if damaged := damaged_files(table, target):
        raise LedgerError(sentence(target, damaged))
    fsync_folder(target)
    actions = pa.table(table.get_add_actions(flatten=True))
    return Copied(
        version=table.version(),
        files=len(actions),
        entries=sum(actions.column("num_records").to_pylist()) if "num_records" in actions.column_names else 0,
        bytes=sum(actions.column("size_bytes").to_pylist()),
    )


def _copy_entries(source: Path, target: Path, version: int) -> None:
    found = [path for path in source.iterdir() if path.name[:20].isdigit() and int(path.name[:20]) <= version]
    checkpoints = [int(path.name[:20]) for path in found if path.name.endswith(".checkpoint.parquet")]
    newest = max(checkpoints, default=-1)
    for path in found:
        number = int(path.name[:20])
        if (path.suffix == ".json" and number >= newest) or (path.name.endswith(".checkpoint.parquet") and number == newest):
            shutil.copy2(path, target / path.name)
            fsync_file(target / path.name)
    fsync_folder(target)


def _paths(table: DeltaTable) -> list[str]:
    return list(pa.table(table.get_add_actions(flatten=True)).column("path").to_pylist())
