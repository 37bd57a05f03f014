"""Keep the log short: a checkpoint now and then, on disk before the entries that it sums up are deleted."""

import time
from pathlib import Path

from spanledger.ledger.files import fsync_file, fsync_folder
from spanledger.ledger.table import Ledger

#: Commits between two checkpoints: opening the table reads at most that many log entries and those of a round, each of which
#: takes 0.3 ms; a checkpoint takes 30.
CHECKPOINT_COMMITS = 20


class Log:
    """Checkpoints and cleans up the log of a ledger. Not safe to use from two threads at once."""

    def __init__(self, ledger: Ledger, grace_seconds: float) -> None:
        """Log entries stay for the grace after a checkpoint made them needless: a reader may be about to read them."""
        self._ledger, self._grace = ledger, grace_seconds
        self._checkpoints: dict[int, float] = {}
        self._looked = False

    def checkpoint(self) -> bool:
        """Write a checkpoint when enough has been committed since the last; whether one was written."""
        with self._ledger.lock:
            version = self._ledger.version()
            if version - self._newest() < CHECKPOINT_COMMITS:
                return False
            self._ledger.table.update_incremental()
            version = self._ledger.version()
            self._ledger.table.create_checkpoint()
        if self._ledger.local is not None:
            log = self._ledger.local / "_delta_log"
            for name in (f"{version:020}.checkpoint.parquet", "_last_checkpoint"):
                fsync_file(log / name)
            fsync_folder(log)
        self._checkpoints[version] = time.monotonic()
        return True

    def clean_up(self) -> int:
        """Delete log entries and checkpoints that a newer checkpoint has made needless for the grace; gives how many."""
        if self._ledger.local is None:
            if self._checkpoints:
                self._ledger.table.cleanup_metadata()
            return 0
        now = time.monotonic()
        old = [version for version, at in self._checkpoints.items() if now - at >= self._grace]
        if not old:
            return 0
        kept = max(old)
        self._checkpoints = {version: at for version, at in self._checkpoints.items() if version >= kept}
        deleted = 0
        for path in self._entries():
            # The entry of the checkpoint's own version stays: whoever has that version open goes on from there.
            if int(path.name[:20]) < kept:
                path.unlink(missing_ok=True)
                deleted += 1
        return deleted

    def _newest(self) -> int:
        if not self._looked and self._ledger.local is not None:
            found = [int(path.name[:20]) for path in self._entries() if "checkpoint" in path.name]
            self._checkpoints |= {version: time.monotonic() for version in found}
            self._looked = True
        return max(self._checkpoints, default=0)

    def _entries(self) -> list[Path]:
        assert self._ledger.local is not None  # noqa: S101
        log = self._ledger.local / "_delta_log"
        return [
            path for path in log.iterdir()
            if path.name[:20].isdigit() and (path.suffix == ".json" or path.name.endswith(".checkpoint.parquet"))
        ]  # fmt: skip
