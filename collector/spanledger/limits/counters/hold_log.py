"""Holds on disk, so that a collector that is killed knows what it had set aside when it comes back.

One line per event, without fsync: a killed process loses nothing that way, only a dead machine does, and then
the leases of its clients run out. The file is written anew when most of it is about holds that are gone.
"""

import logging
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from spanledger.limits.counters.counters import Hold
from spanledger.limits.counters.memory import MemoryCounters

logger = logging.getLogger(__name__)

#: A file shorter than this is not worth writing anew.
COMPACT_BYTES = 4 * 1024 * 1024
#: The file grows by so much at a time; what is not written yet is zeros.
GROWS_BY = 1024 * 1024

_line = msgspec.json.Encoder().encode
_event = msgspec.json.Decoder(Hold | str).decode


class HoldLog:
    """Appends what happens to holds; `load` gives back those that are still held.

    It writes through a shared mapping: that survives a kill as a write does, and saves each check a system call, which
    took a sixth of its time. When the disk has no room for more, checks go on, by the holds in memory, and the file is written
    anew as soon as it can be.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        file.touch()
        self._live_size = 0
        self._incomplete = False
        self._end = len(file.read_bytes().rstrip(b"\0"))
        self._map = self._mapped(file, self._end)

    def added(self, hold: Hold) -> None:
        """A hold was made, settled or extended: its newest line counts."""
        self._write(_line(hold) + b"\n")

    def gone(self, hold_id: str) -> None:
        """A hold was released, replaced by its entry, or expired."""
        self._write(b'"%b"\n' % hold_id.encode())

    def load(self, now: int) -> list[Hold]:
        """The holds that are still held; what a kill cut off at the end of the file is left out."""
        holds: dict[str, Hold] = {}
        for line in self._path.read_bytes().rstrip(b"\0").splitlines():
            try:
                event = _event(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if isinstance(event, str):
                holds.pop(event, None)
            else:
                holds[event.id] = event
        live = [hold for hold in holds.values() if hold.settled or hold.expires_at > now]
        self.rewrite(live)
        return live

    def rewrite(self, live: Iterable[Hold]) -> None:
        """Write the file anew with these holds alone. Raises `OSError`, and then the file is as it was."""
        fresh = self._path.with_suffix(".new")
        written = b"".join(_line(hold) + b"\n" for hold in live)
        try:
            fresh.write_bytes(written)
            mapped = self._mapped(fresh, len(written))
        except OSError:
            fresh.unlink(missing_ok=True)  # what of it could be written takes room
            raise
        fresh.replace(self._path)
        self._map.close()
        self._map, self._end, self._live_size = mapped, len(written), len(written)
        self._incomplete = False

    @property
    def wants_rewriting(self) -> bool:
        """Whether most of a file that is large by now is about holds that are gone, or it lacks what is held."""
        return self._incomplete or self._end > COMPACT_BYTES + 2 * self._live_size

    def close(self) -> None:
        """Give the file back."""
        self._map.close()

    def _write(self, line: bytes) -> None:
        end = self._end + len(line)
        if self._incomplete or (end > len(self._map) and not self._grown(end)):
            return
        self._map[self._end : end] = line
        self._end = end

    def _grown(self, end: int) -> bool:
        try:
            mapped = self._mapped(self._path, end)
        except OSError as error:
            logger.error("holds cannot be written down (%s) and would be lost if this process were killed now", error)
            self._incomplete = True
            return False
        self._map.close()
        self._map = mapped
        return True

    @staticmethod
    def _mapped(file: Path, end: int) -> mmap.mmap:
        with file.open("r+b") as opened:
            size = (end // GROWS_BY + 1) * GROWS_BY
            # Blocks are reserved now: writing into a mapping that the disk has no room for would kill the process.
            os.posix_fallocate(opened.fileno(), 0, size)
            return mmap.mmap(opened.fileno(), size)


def restored(counters: MemoryCounters, log: HoldLog | None, now: int) -> MemoryCounters:
    """The counters, holding what their log says was held when the process ended."""
    if log is not None:
        counters.restore(log.load(now))
    return counters
