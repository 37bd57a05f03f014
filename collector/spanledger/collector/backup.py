"""Back up a data folder while the collector runs, and put a backup back.

The order makes it consistent: first the journal, then the ledger's log, whose mark says what of the journal is in the
ledger already; so every body that was acknowledged when the backup began is in one of the two, and a collector that
starts on the copy posts each once. Evidence of recent calls is taken to the same mark. The roll-up is made anew.
"""

import json
import shutil
import sqlite3
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spanledger.collector.journal.copying import with_its_bodies
from spanledger.collector.journal.file import JournalError
from spanledger.collector.journal.name import journal_name
from spanledger.ledger.copying import copy_files, copy_log
from spanledger.ledger.files import fsync_file, fsync_folder
from spanledger.ledger.opening import LedgerError, location_of
from spanledger.ledger.pins import Pin

#: Written last: a folder without it is no backup, or half of one.
MANIFEST = "backup.json"
_JOURNAL = "journal.sqlite"
#: Databases that are copied by SQLite itself, the journal first.
_DATABASES = (_JOURNAL, "control.sqlite")
#: What belongs to a running collector, is copied otherwise, or is derived.
_NOT_COPIED = ("entries", "evidence", "collector.lock", "addresses.json", *_DATABASES)
_ATTEMPTS = 20


class BackupError(Exception):
    """Nothing usable came of it; the message says why."""


def back_up(data: Path, target: Path) -> dict[str, Any]:
    """Copy the data folder, as it is now, into `target`, which must be new or empty; gives what `backup.json` says.

    Works beside a running collector and disturbs it only by reading. Raises `BackupError`.
    """
    location = location_of(data)
    if location is not None and Path(location).absolute() != (data / "entries").absolute():
        raise BackupError(
            f"the ledger of {data} is at {location}: copy it there, with the collector stopped, together with this folder"
        )
    if not (data / "entries" / "_delta_log").exists():
        raise BackupError(f"there is no ledger in {data}")
    if target.resolve().is_relative_to(data.resolve()):
        raise BackupError(f"{target} is inside of {data}: what takes the one takes the other; name a folder elsewhere")
    _must_be_empty(target)
    target.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC)
    pin = Pin(data / "entries")
    try:
        for name in _DATABASES:
            _copy_database(data / name, target / name)
        if (target / _JOURNAL).exists():
            with_its_bodies(target / _JOURNAL, data / _JOURNAL)
            fsync_file(target / _JOURNAL)
        mark = _log_and_evidence(data, target, pin)
        for path in sorted(data.iterdir()):
            if path.name not in _NOT_COPIED and path.is_file() and not path.name.endswith(("-wal", "-shm", ".new")):
                _copy_file(path, target / path.name)
        copied = copy_files(data / "entries", target / "entries")
    except (OSError, sqlite3.Error, LedgerError, JournalError) as error:
        raise BackupError(f"{data} could not be backed up: {error}") from error
    finally:
        pin.close()
    said = {"made_at": began.isoformat(timespec="seconds"), "spanledger": version("spanledger"), **asdict(copied), "mark": mark}
    (target / MANIFEST).write_text(json.dumps(said, indent=2) + "\n")
    fsync_file(target / MANIFEST)
    fsync_folder(target)
    return said


def restore(backup: Path, data: Path) -> dict[str, Any]:
    """Copy a backup into a data folder, which must be new or empty; gives what `backup.json` says. Raises `BackupError`."""
    try:
        said: dict[str, Any] = json.loads((backup / MANIFEST).read_text())
    except FileNotFoundError:
        raise BackupError(f"{backup} holds no finished backup: {MANIFEST} is not there") from None
    except ValueError as error:
        raise BackupError(f"{backup / MANIFEST} cannot be read: {error}") from error
    _must_be_empty(data)
    try:
        data.mkdir(parents=True, exist_ok=True)
        for path in sorted(backup.iterdir()):
            if path.is_file() and path.name != MANIFEST:
                _copy_file(path, data / path.name)
        if (backup / "evidence").exists():
            shutil.copytree(backup / "evidence", data / "evidence")
        shutil.copytree(backup / "entries" / "_delta_log", data / "entries" / "_delta_log")
        copied = copy_files(backup / "entries", data / "entries")
        fsync_folder(data)
    except (OSError, LedgerError) as error:
        _empty(data)
        raise BackupError(f"{backup} could not be put back: {error}") from error
    if copied.entries != said["entries"]:
        _empty(data)
        raise BackupError(f"{backup} is not what was backed up: {copied.entries} entries instead of {said['entries']}")
    return said


def _must_be_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty: name a folder that is new or empty")


def _empty(folder: Path) -> None:
    """A folder that was empty before is so again: half a ledger must not be taken for one."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _copy_database(source: Path, target: Path) -> None:
    if not source.exists():
        return
    reading = sqlite3.connect(f"file:{source.absolute()}?mode=ro", uri=True, timeout=30)
    writing = sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        writing.close()
        reading.close()
    fsync_file(target)


def _copy_file(source: Path, target: Path) -> None:
    shutil.copy2(source, target)
    fsync_file(target)


def _log_and_evidence(data: Path, target: Path, pin: Pin) -> int:
    """Copy log and evidence so that the evidence reaches just to the log's mark; gives the mark."""
    source, kept, journal = data / "evidence", target / "evidence", journal_name(data)
    for _ in range(_ATTEMPTS):
        mark = copy_log(data / "entries", target / "entries", pin, journal)
        if not source.exists():
            return mark
        names = {path.name for path in source.glob("*.arrow")}
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        try:
            for name in names:
                if int(name[:20]) <= mark:
                    _copy_file(source / name, kept / name)
        except FileNotFoundError:  # just merged with others
            continue
        time.sleep(0.05)
        merged = bool(names - {path.name for path in source.glob("*.arrow")})
        # Files that are merged bear the newest mark, which the copied log may not have reached.
        beyond = bool(names) and all(int(name[:20]) > mark for name in names)
        if not merged and not beyond:
            return mark
    raise BackupError(f"the collector on {data} changes too fast to be backed up now: try again")
