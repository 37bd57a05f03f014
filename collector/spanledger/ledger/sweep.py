"""Delete what no snapshot names any more, when no reader can be looking at it."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from spanledger.ledger import pins, rollup
from spanledger.ledger.table import Ledger
from spanledger.ledger.torn import torn_entries

#: Files of a half-written log entry were made at most this many seconds before it.
_BATCH_SECONDS = 60
_HOUR = 3600


class Sweep:
    """Remembers since when, and since which version, a file is no longer named. Not safe to use from two threads at once.

    Only what this process has seen unnamed for the whole grace is deleted, by a clock that cannot jump; so a file that is
    just being written and not yet committed is safe, and so is one that a reader, here or in another process, has pinned.
    """

    def __init__(self, ledger: Ledger, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that only go forward."""
        self._ledger, self._grace, self._clock = ledger, grace_seconds, clock
        self._unnamed: dict[str, tuple[float, int]] = {}
        self._vacuumed = clock()

    @property
    def waiting(self) -> int:
        """Files that are no longer named and wait for their deletion."""
        return len(self._unnamed)

    def once(self) -> int:
        """Delete what may go; gives the number of files. On an object store there are no pins, and files stay an hour more."""
        local = self._ledger.local
        if local is None:
            return self._vacuum()
        there = set(_files(local))
        with self._ledger.lock:
            named = {_relative(path) for path in self._ledger.files()}
            version = self._ledger.version()
        named |= rollup.read_manifest(local).files
        now = self._clock()
        self._unnamed = {name: self._unnamed.get(name, (now, version)) for name in there - named}
        ripe = [(name, at) for name, (since, at) in self._unnamed.items() if now - since >= self._grace]
        pinned = pins.least(local) if ripe else None
        kept = _of_torn(local, [name for name, _ in ripe])
        deleted = 0
        for name, at in ripe:
            # A reader of the very version cannot know the file, but may have read the roll-up's manifest before it changed.
            reaches = at + 1 if name.startswith(rollup.FOLDER) else at
            if (pinned is not None and pinned < reaches) or name in kept:
                continue
            (local / name).unlink(missing_ok=True)
            del self._unnamed[name]
            deleted += 1
        for folder in local.glob("day=*"):
            if not any(folder.iterdir()):
                self._remove_empty(folder)
        return deleted

    def _vacuum(self) -> int:
        if self._clock() - self._vacuumed < _HOUR:
            return 0
        self._vacuumed = self._clock()
        hours = 1 + math.ceil(self._grace / _HOUR)
        with self._ledger.lock:
            table = self._ledger.table
            # Of what the log says was replaced, not of what lies there: a batch may be just being written.
            return len(table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=False))

    def _remove_empty(self, folder: Path) -> None:
        with self._ledger.lock:  # not while a batch is being written into it
            try:
                folder.rmdir()
            except OSError:
                return


def _files(local: Path) -> Iterator[str]:
    for path in local.glob("day=*/*.parquet"):
        yield f"{path.parent.name}/{path.name}"
    for path in local.glob(f"{rollup.FOLDER}/*.parquet"):
        yield f"{rollup.FOLDER}/{path.name}"


def _of_torn(local: Path, names: list[str]) -> set[str]:
    """Files that a half-written log entry may have named: nobody but a person deletes these."""
    kept = set()
    for torn in torn_entries(local) if names else []:
        text, at = torn.read_bytes(), torn.stat().st_mtime
        for name in names:
            made = (local / name).stat().st_mtime if (local / name).exists() else 0.0
            if name.encode() in text or at - _BATCH_SECONDS <= made <= at:
                kept.add(name)
    return kept


def _relative(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])
