"""What of a ledger on disk is not as it was written: log entries cut short, Parquet files missing or cut short."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

#: Files that are there and cannot be read, one a line with its stamp and the reason: only reading all of them finds that. One
#: that bears another stamp now was put back, or changed once more.
_NOTED = "_unreadable"


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file of entries that is not what the log says; `entries` is how many it held, null when the log does not say."""

    path: str
    day: date | None
    entries: int | None
    reason: str

    def __str__(self) -> str:
        held = (
            "" if self.entries is None else f" with {self.entries:,} {'entry' if self.entries == 1 else 'entries'} of {self.day}"
        )
        return f"{self.path}{held} {self.reason}"


def sentence(table: Path | str, found: list[Damaged]) -> str:
    """What is wrong, with the names of the files, and what can be done about it."""
    named = "; ".join(str(one) for one in found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
    return (
        f"the ledger {table} is damaged: {named}. Put the file back from a backup, or go on without it: "
        "`spanledger repair` takes it out of the table and says what is lost"
    )


def damaged_files(table: DeltaTable, local: Path) -> list[Damaged]:
    """Files of this snapshot that are missing or do not have the size that they were written with, by one look at each name; and
    those that were noted as unreadable."""
    noted = {path: reason for path, (stamp, reason) in _noted(local).items() if stamp in ("", stamp_of(local / path))}
    return [
        Damaged(path, day, count, reason)
        for path, size, day, count in _files(table)
        if (reason := _wrong(local / path, size) or noted.get(path, ""))
    ]


def note_unreadable(table: DeltaTable, local: Path, *, whole: bool, among: Collection[str] | None = None) -> list[Damaged]:
    """Look for `unreadable_files`, and note them, so that everybody leaves them out from now on; gives those found now."""
    found = unreadable_files(table, local, whole=whole, among=among)
    if found:
        kept = {path: noted for path, noted in _noted(local).items() if (local / path).exists()}
        kept |= {one.path: (stamp_of(local / one.path), one.reason) for one in found}
        written = local / f"{_NOTED}.new"
        lines = "".join(f"{path}\t{stamp}\t{reason}\n" for path, (stamp, reason) in kept.items())
        written.write_text(lines, encoding="utf-8")
        written.replace(local / _NOTED)
    return found


def stamp_of(path: Path) -> str:
    """What changes when a file is written or replaced; "" where there is none. Files of entries are written once."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_ino}.{found.st_mtime_ns}"


def _noted(local: Path) -> dict[str, tuple[str, str]]:
    """Path → stamp and reason; without a stamp where an older version has noted it."""
    try:
        lines = (local / _NOTED).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    parts = [line.split("\t", 2) for line in lines if "\t" in line]
    return {path: (more[0] if len(more) > 1 else "", more[-1]) for path, *more in parts}


def unreadable_files(table: DeltaTable, local: Path, *, whole: bool, among: Collection[str] | None = None) -> list[Damaged]:
    """Files of this snapshot that are there in their size and yet no Parquet: by what each says of itself at its end, or,
    `whole`, by reading all that is in them, which takes seconds a gigabyte. Without those that `damaged_files` names, and, when
    given, only those `among` some."""
    known = {one.path for one in damaged_files(table, local)}
    return [
        Damaged(path, day, count, reason)
        for path, _, day, count in _files(table)
        if path not in known and (among is None or path in among) and (reason := _unreadable(local / path, whole))
    ]


def _files(table: DeltaTable) -> list[tuple[str, int, date | None, int | None]]:
    """Path, bytes, day and number of entries of each file, as far as the log says."""
    actions = pa.table(table.get_add_actions(flatten=True))
    names = set(actions.column_names)
    nothing = [None] * len(actions)
    days = actions.column("partition.day").to_pylist() if "partition.day" in names else nothing
    rows = actions.column("num_records").to_pylist() if "num_records" in names else nothing
    paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
    return list(zip(paths, sizes, map(_day, days), rows, strict=True))


def damaged_log_entries(local: Path) -> list[Path]:
    """Log entries after the newest checkpoint that are not whole, oldest first."""
    log = local / "_delta_log"
    since = _newest_checkpoint(log)
    entries = sorted(path for path in log.glob("*.json") if path.stem.isdigit() and int(path.stem) > since)
    return [path for path in entries if not _whole(path)]


def missing_log_entry(local: Path) -> Path | None:
    """The first log entry after the newest checkpoint that is not there although later ones are."""
    log = local / "_delta_log"
    since = _newest_checkpoint(log)
    there = sorted(int(path.stem) for path in log.glob("*.json") if path.stem.isdigit() and int(path.stem) > since)
    return next((log / f"{at:020}.json" for at, number in enumerate(there, since + 1) if at != number), None)


def _newest_checkpoint(log: Path) -> int:
    return max((int(path.name[:20]) for path in log.glob("*.checkpoint*.parquet") if path.name[:20].isdigit()), default=-1)


def _wrong(path: Path, size: int) -> str:
    try:
        there = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if there == size else f"was cut: {there:,} of {size:,} bytes are there"


def _unreadable(path: Path, whole: bool) -> str:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _ = file.schema_arrow
            for group in range(file.num_row_groups if whole else 0):
                file.read_row_group(group, use_threads=False).validate(full=True)
    except FileNotFoundError:  # put together with others meanwhile
        return ""
    except (OSError, ValueError, pa.ArrowException) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"cannot be read: {told[:200]}"
    return ""


def _whole(path: Path) -> bool:
    try:
        lines = path.read_bytes().splitlines()
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines if line.strip())
    except FileNotFoundError:  # cleaned up meanwhile
        return True
    except ValueError:
        return False


def _day(value: Any) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value
