"""Segments: plain files beside the journal's SQLite, in which bodies stand one behind another, each behind a heading.

A row of SQLite says where a body stands, and is committed only when the body is on disk: whatever else a crash has left in
a segment, nobody speaks of. The headings are for the day on which the rows are lost: they say again what the rows said. They
are summed up with a random number at the beginning of the segment, so that neither a body that holds headings nor what stood
in the file before is taken for one.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import numpy as np

from spanledger.collector.received import Compression, Encoding, Received, Signal
from spanledger.ledger.files import fsync_folder

#: A segment that has grown beyond this is followed by another. When no row speaks of it it is deleted, but one is kept and
#: written over: for that the file system has no room to find, and a body of 400 kB costs a sixth less CPU.
SEGMENT_BYTES = 64 * 1024 * 1024

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MAGIC = b"SpLg"
#: Magic, length of the names, sequence, microseconds since 1970, size and sum of the body; then the names, and a CRC-32.
_HEADING = struct.Struct("<4sHqqQI")
_CRC = struct.Struct("<I")
_SEED_BYTES = 8
_SPARE = "spare"
#: What one system call takes (IOV_MAX).
_PIECES = 1024
_WORDS = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body stands: `size` bytes from `begin` on in the segment of that number."""

    segment: int
    begin: int
    size: int


def sum_of(body: bytes) -> int:
    """What tells a body from one that was damaged: the CRC-32 of the sums of its sectors.

    13 µs for 400 kB where a CRC-32 of all of it takes 94. Whatever happens to one word is noticed as surely; changes of several
    words of one sector of 512 bytes cancel one another with a chance of 2⁻⁶⁴.
    """
    words = len(body) // 8
    sums = np.add.reduceat(np.frombuffer(body, "<u8", words), np.arange(0, words, _WORDS)) if words else np.empty(0, "<u8")
    return zlib.crc32(memoryview(body)[words * 8 :], zlib.crc32(sums.data))


class Segments:
    """The segments of one journal, for its writer's thread."""

    def __init__(self, folder: Path, used: Collection[int]) -> None:
        """`used` are the segments that rows speak of; others are deleted. Raises `OSError`."""
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)  # without this a new folder, and all that is acknowledged in it, can vanish in a power cut
        self._folder = folder
        self._newest = max([0, *used, *_numbers(folder)])
        self._file: int | None = None
        self._end = self._end_before = self._seed = 0
        self.keep(used)

    def append(self, bodies: Sequence[Received], sums: Sequence[int]) -> list[Place]:
        """Where the bodies, which bear their sequences, stand, on disk. Raises `OSError`, and then none of them does."""
        try:
            file = self._file if self._file is not None and self._end < SEGMENT_BYTES else self._another()
            places, pieces, at = self._places(bodies, sums)
            self._end_before = self._end
            _write(file, pieces, self._end)
            os.fdatasync(file)
        except OSError:
            self.take_back()
            raise
        self._end = at
        return places

    def _places(self, bodies: Sequence[Received], sums: Sequence[int]) -> tuple[list[Place], list[bytes], int]:
        """Where each body will stand, what is to be written, and where that ends."""
        pieces: list[bytes] = []
        places = []
        at = self._end
        for body, checksum in zip(bodies, sums, strict=True):
            heading = _heading(body, checksum, self._seed)
            pieces += (heading, body.body)
            places.append(Place(self._newest, at + len(heading), len(body.body)))
            at += len(heading) + len(body.body)
        return places, pieces, at

    def take_back(self) -> None:
        """Forget what was appended last, and give back its room: it could not be written, or its rows could not.

        What comes next goes into another segment: after a write that failed nobody knows what this one holds.
        """
        if self._file is None:
            return
        with suppress(OSError):  # then it takes room until no row speaks of the segment
            os.ftruncate(self._file, self._end_before)
        if self._end_before == _SEED_BYTES:
            _path(self._folder, self._newest).unlink(missing_ok=True)
        self.close()
        (self._folder / _SPARE).unlink(missing_ok=True)  # the disk may be full

    def keep(self, used: Collection[int]) -> None:
        """Give up the segments that are not among these, but the one that is being written."""
        spare = self._folder / _SPARE
        for number in _numbers(self._folder):
            if number in used or (self._file is not None and number == self._newest):
                continue
            path = _path(self._folder, number)
            if path.stat().st_size >= SEGMENT_BYTES and not spare.exists():
                path.rename(spare)
            else:
                path.unlink()

    def close(self) -> None:
        """Write no more into the newest one."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _another(self) -> int:
        self.close()
        self._newest += 1
        path = _path(self._folder, self._newest)
        with suppress(FileNotFoundError):
            (self._folder / _SPARE).rename(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._end = self._end_before = _SEED_BYTES
        seed = os.urandom(_SEED_BYTES)
        self._seed = zlib.crc32(seed)
        os.pwrite(self._file, seed, 0)
        fsync_folder(self._folder)
        return self._file


class Bodies:
    """Reads bodies where they stand; for one thread and one pass over rows, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: tuple[int, int] | None = None

    def at(self, place: Place) -> bytes:
        """The bytes that stand there now; fewer, or none, when the file was cut or is gone."""
        if self._open is None or self._open[0] != place.segment:
            self.close()
            try:
                self._open = place.segment, os.open(_path(self._folder, place.segment), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
        return os.pread(self._open[1], place.size, place.begin)

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def headed(folder: Path) -> Iterator[tuple[Received, int, Place]]:
    """Every body that has a whole heading, without its bytes; its sum, and its place. Damage is passed over."""
    for number in _numbers(folder):
        with _path(folder, number).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
                seed = zlib.crc32(held[:_SEED_BYTES])
                at = held.find(_MAGIC, _SEED_BYTES)
                while at >= 0:
                    found = _read_heading(held, at, seed)
                    if found is None:
                        at += 1
                    else:
                        received, size, checksum, begin = found
                        yield received, checksum, Place(number, begin, size)
                        at = begin + size
                    at = held.find(_MAGIC, at)


def _heading(body: Received, checksum: int, seed: int) -> bytes:
    names = " ".join((body.signal, body.encoding, body.compression, body.api_key_id)).encode()
    plain = _HEADING.pack(_MAGIC, len(names), body.sequence, microseconds(body.received_at), len(body.body), checksum) + names
    return plain + _CRC.pack(zlib.crc32(plain, seed))


def _read_heading(held: mmap.mmap, at: int, seed: int) -> tuple[Received, int, int, int] | None:
    """A body without its bytes, its size, its sum, and where it begins; None where no whole heading stands."""
    if at + _HEADING.size > len(held):
        return None
    _, length, sequence, received_at, size, checksum = _HEADING.unpack_from(held, at)
    end = at + _HEADING.size + length
    if end + _CRC.size > len(held) or _CRC.unpack_from(held, end)[0] != zlib.crc32(held[at:end], seed):
        return None
    signal, encoding, compression, api_key_id = held[at + _HEADING.size : end].decode().split(" ", 3)
    received = Received(
        sequence=sequence, received_at=EPOCH + timedelta(microseconds=received_at), signal=cast(Signal, signal),
        encoding=cast(Encoding, encoding), compression=cast(Compression, compression), api_key_id=api_key_id, body=b"",
    )  # fmt: skip
    return received, size, checksum, end + _CRC.size


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly."""
    since = moment - EPOCH
    return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds


def _write(file: int, pieces: list[bytes], at: int) -> None:
    """Without putting the pieces together."""
    for first in range(0, len(pieces), _PIECES):
        some = pieces[first : first + _PIECES]
        size = sum(map(len, some))
        written = os.pwritev(file, some, at)
        while written < size:  # a disk that is nearly full takes a part, and then says so
            written += os.pwrite(file, b"".join(some)[written:], at + written)
        at += size


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}"


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.exists() else []
