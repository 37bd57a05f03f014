"""What of a ledger on disk is not as it was written: log entries cut short, Parquet files missing or cut short."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable


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
    """Files of this snapshot that are missing or do not have the size that they were written with: one look at each name."""
    actions = pa.table(table.get_add_actions(flatten=True))
    names = set(actions.column_names)
    nothing = [None] * len(actions)
    days = actions.column("partition.day").to_pylist() if "partition.day" in names else nothing
    rows = actions.column("num_records").to_pylist() if "num_records" in names else nothing
    paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
    found = []
    for path, size, day, count in zip(paths, sizes, days, rows, strict=True):
        reason = _wrong(local / path, size)
        if reason:
            found.append(Damaged(path, _day(day), count, reason))
    return found


def damaged_log_entries(local: Path) -> list[Path]:
    """Log entries after the newest checkpoint that are not whole, oldest first."""
    log = local / "_delta_log"
    checkpoints = [int(path.name.split(".")[0]) for path in log.glob("*.checkpoint*.parquet") if path.name[:20].isdigit()]
    since = max(checkpoints, default=-1)
    entries = sorted(path for path in log.glob("*.json") if path.stem.isdigit() and int(path.stem) > since)
    return [path for path in entries if not _whole(path)]


def _wrong(path: Path, size: int) -> str:
    try:
        there = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if there == size else f"was cut: {there:,} of {size:,} bytes are there"


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
