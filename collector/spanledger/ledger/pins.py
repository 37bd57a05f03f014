"""Readers say which version of the ledger they are looking at, so that no file is deleted under them.

A reader holds a shared lock on one byte of a file in the table's folder: the byte whose offset is the version. The
kernel lets go of it when the process ends, however it ends, and whoever deletes asks for the least byte that is locked.
It costs a reader no write permission. Where there are no such locks (not on Linux, or an object store) only the
grace counts for which maintenance keeps what is no longer named.
"""

import fcntl
import os
import struct
from pathlib import Path

#: The file whose bytes are locked; it stays empty.
NAME = "_readers"

_LAYOUT = "hhqqi"
_HAS_LOCKS = hasattr(fcntl, "F_OFD_SETLK")


class Pin:
    """Holds one version of a table for a reader until `close` or the end of the process."""

    def __init__(self, table: Path) -> None:
        self._version: int | None = None
        self._file: int | None = None
        if _HAS_LOCKS:
            try:
                self._file = os.open(table / NAME, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # a table that no collector of this version has opened yet
                self._file = None

    def move(self, version: int) -> None:
        """Hold this version instead of the one before; never lets go of the old one first."""
        if self._file is None or version == self._version:
            return
        before, self._version = self._version, version
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK, version, 1))
        if before is not None:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock(fcntl.F_UNLCK, before, 1))

    def close(self) -> None:
        """Hold nothing any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def make(table: Path) -> None:
    """Make the file that readers lock, where it is not there yet."""
    (table / NAME).touch()


def least(table: Path) -> int | None:
    """The oldest version that a reader holds; None when none does."""
    if not _HAS_LOCKS or not (table / NAME).exists():
        return None
    file = os.open(table / NAME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found: int | None = None
        while found != 0:
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _lock(fcntl.F_WRLCK, 0, found or 0))
            kind, _, start, *_ = struct.unpack_from(_LAYOUT, answer)
            if kind == fcntl.F_UNLCK:
                break
            found = start
        return found
    finally:
        os.close(file)


def _lock(kind: int, start: int, length: int) -> bytes:
    return struct.pack(_LAYOUT, kind, os.SEEK_SET, start, length, 0)
