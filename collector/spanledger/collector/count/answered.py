"""By which provider's ids calls are known that memory has let go of, for as long as is looked back.

An answer that a cache plays again bears the id of the call that it once was, however long ago. A filter in memory says which ids
are surely new, two to four bytes for each that is known; the ids themselves lie in sorted files, eight bytes each, and are only
looked at for the rest. What no file holds at a start is read from the ledger.
"""

import logging
import mmap
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from spanledger.collector.columns.keys import Flags, Keys, Rows, distinct, firsts, keys_of
from spanledger.collector.count.gone import Narrow

logger = logging.getLogger(__name__)

#: So many ids are gathered before they are written, so many files of them are put together, and so many make a file whole.
_RUN, _RUNS, _WHOLE = 125_000, 8, 1_000_000
#: A word of the filter stands for at most so many ids, each of which sets so many of its bits: of a new id in 300 all are set.
_IDS_A_WORD, _BITS = 4, 4
_LEAST_WORDS = 1 << 12
_IN_WORD = np.uint64(63)
_NAME = re.compile(r"(\d{20})-(\d{20})-([0-9a-f]{16})\.ids")
#: Keys are the same in another process only if it hashes alike.
_HASHED_AS = f"{int(keys_of(pl.Series(['the same']))[0]):016x}"


@dataclass(slots=True)
class _Part:
    """So many sorted keys, on disk or here, and when (microseconds since 1970) the first and the last of their records came."""

    size: int
    first: int
    last: int
    held: Keys | None = None
    path: Path | None = None

    def keys(self) -> Keys:
        if self.held is not None:
            return self.held
        with open(self.path or "", "rb") as file:  # mapped for as long as it is looked at, so that it takes no memory
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint64)


@dataclass(slots=True)
class Answered:
    """Ids of records by when these came. Without a folder all of it is in memory, and nothing outlives the process."""

    folder: Path | None = None
    most: int = 25_000_000
    _parts: list[_Part] = field(default_factory=list)
    #: what is not written yet
    _fresh: list[_Part] = field(default_factory=list)
    _table: Keys = field(default_factory=lambda: np.zeros(_LEAST_WORDS, dtype=np.uint64))
    #: ids that have set bits in the table, those that were let go since among them
    _set: int = 0

    def read(self) -> int | None:
        """Take up what an earlier process left; gives until when records are known by it, None if by nothing."""
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob("*.partial"):
            leftover.unlink()
        whole = True
        for path in sorted(self.folder.glob("*.ids"), key=lambda path: path.name[21:41]):
            part = _part_of(path) if whole else None
            if part is None:
                # What came from then on is read from the ledger: there is one gap at the end, and none between.
                whole = False
                path.unlink(missing_ok=True)
            else:
                self._parts.append(part)
        self._tabulate()
        return max((part.last for part in self._parts), default=None)

    def add(self, narrow: Narrow) -> None:
        """Note the ids of records that memory lets go of now."""
        rows, names = _names(narrow)
        if not len(rows):
            return
        came = narrow["arrived"][rows]
        # What came before all that is written is there already, if it was recalled from the ledger.
        if len(self._parts) and len(early := np.flatnonzero(came <= max(part.last for part in self._parts))):
            again = np.zeros(len(rows), dtype=bool)
            again[early] = self._hits(names[early])[0]
            names, came = names[~again], came[~again]
        if len(names):
            self.note(names, int(came.min()), int(came.max()))

    def learn(self, told: pl.DataFrame) -> None:
        """Know the ids of entries (`response_id`, `request_id`, `arrived`)."""
        keys = np.concatenate([keys_of(told["response_id"]), keys_of(told["request_id"])])
        if (keys := keys[keys != 0]).size:
            self.note(keys, cast(int, told["arrived"].min()), cast(int, told["arrived"].max()))

    def note(self, names: Keys, first: int, last: int) -> None:
        """Know these ids, of records that came between these moments."""
        names = distinct(names)
        self._fresh.append(_Part(len(names), first, last, held=names))
        self._set += len(names)
        if self._set > _IDS_A_WORD * len(self._table):
            self._tabulate()
        else:
            self._take(names)
        if sum(part.size for part in self._fresh) >= _RUN:
            self.flush()
        elif len(self._fresh) >= _RUNS:
            self._fresh = [_together(self._fresh)]

    def flush(self) -> None:
        """Write down what is not written yet."""
        if self._fresh:
            self._parts.append(self._written(_together(self._fresh)))
            self._fresh = []
        small = [part for part in self._parts if part.size < _WHOLE]
        if len(small) >= _RUNS:
            whole = _together(small)
            for part in small:
                self._drop(part)
            self._parts.append(self._written(whole))

    def let_go(self, before: int) -> None:
        """Forget ids of records that came before then, and the oldest beyond the bound."""
        self._parts.sort(key=lambda part: part.last)
        known = self.size
        while self._parts and (self._parts[0].last < before or known > self.most):
            known -= self._parts[0].size
            self._drop(self._parts[0])
        if self._set > 2 * known + _RUN:
            self._tabulate()

    def named(self, narrow: Narrow) -> tuple[Rows, int, int]:
        """Which of these records bear an id that is known, and between which moments (microseconds) the records came that do."""
        rows, names = _names(narrow)
        found, first, last = self._hits(names)
        return np.unique(rows[found]), first, last

    @property
    def size(self) -> int:
        """How many ids are known."""
        return sum(part.size for part in (*self._parts, *self._fresh))

    @property
    def in_memory(self) -> int:
        """Bytes, the files left out."""
        held = [part.held.nbytes for part in (*self._parts, *self._fresh) if part.held is not None]
        return self._table.nbytes + sum(held)

    def _hits(self, names: Keys) -> tuple[Flags, int, int]:
        found: Flags = np.zeros(len(names), dtype=bool)
        first, last = np.iinfo(np.int64).max, 0
        # Most are new, which the first bit of their word tells of nearly all.
        word = self._table[self._words(names)]
        maybe = np.flatnonzero(word >> (names & _IN_WORD) & np.uint64(1))
        bits = _bits(names[maybe])
        maybe = maybe[(word[maybe] & bits) == bits]
        maybe = maybe[np.argsort(names[maybe])]
        asked = names[maybe]
        for part in (*self._parts, *self._fresh) if len(maybe) else ():
            keys = part.keys()
            hit = keys[np.minimum(np.searchsorted(keys, asked), part.size - 1)] == asked
            if hit.any():
                found[maybe[hit]] = True
                first, last = min(first, part.first), max(last, part.last)
        return found, first, last

    def _words(self, names: Keys) -> Rows:
        """The word of the filter that stands for each id: by its first bits, so that sorted ones go in order."""
        return (names >> np.uint64(65 - len(self._table).bit_length())).view(np.int64)

    def _take(self, names: Keys) -> None:
        """Set the bits of these sorted ids."""
        if len(names):
            word = self._words(names)
            begins = firsts(word)
            self._table[word[begins]] |= np.bitwise_or.reduceat(_bits(names), begins)

    def _tabulate(self) -> None:
        """Make the filter anew for what is known now and a quarter more."""
        known = self.size
        words = _LEAST_WORDS
        while _IDS_A_WORD * words < known + known // 4:
            words *= 2
        self._table = np.zeros(words, dtype=np.uint64)
        for part in (*self._parts, *self._fresh):
            for begin in range(0, part.size, _RUN):
                self._take(part.keys()[begin : begin + _RUN])
        self._set = known

    def _written(self, part: _Part) -> _Part:
        if self.folder is None:
            return part
        path = self.folder / f"{part.first:020d}-{part.last:020d}-{_HASHED_AS}.ids"
        while path.exists():
            part.last += 1
            path = self.folder / f"{part.first:020d}-{part.last:020d}-{_HASHED_AS}.ids"
        partial = path.with_suffix(".partial")
        part.keys().tofile(partial)
        partial.replace(path)
        return _Part(part.size, part.first, part.last, path=path)

    def _drop(self, part: _Part) -> None:
        self._parts = [each for each in self._parts if each is not part]
        if part.path is not None:
            part.path.unlink(missing_ok=True)


def _bits(names: Keys) -> Keys:
    """The bits in its word that each id sets, by its last ones."""
    bits = np.uint64(1) << (names & _IN_WORD)
    for nth in range(1, _BITS):
        bits |= np.uint64(1) << (names >> np.uint64(6 * nth) & _IN_WORD)
    return bits


def _together(parts: list[_Part]) -> _Part:
    keys = distinct(np.concatenate([part.keys() for part in parts]), in_runs=True)
    return _Part(len(keys), min(part.first for part in parts), max(part.last for part in parts), held=keys)


def _part_of(path: Path) -> _Part | None:
    """A file that an earlier process wrote; None if it hashed otherwise or if what is in it is not what was written."""
    match = _NAME.fullmatch(path.name)
    if match is None or match[3] != _HASHED_AS or not path.stat().st_size or path.stat().st_size % 8:
        return None
    part = _Part(path.stat().st_size // 8, int(match[1]), int(match[2]), path=path)
    keys = part.keys()
    if not (keys[1:] > keys[:-1]).all():
        logger.warning("a file of known ids is damaged and is read from the ledger again: %s", path)
        return None
    return part


def _names(narrow: Narrow) -> tuple[Rows, Keys]:
    """(rows, keys) of what providers call their answers."""
    found = [(rows, narrow[name][rows]) for name in ("response", "request") for rows in [np.flatnonzero(narrow[name])]]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([names for _, names in found])
