"""What memory let go of, by its keys alone: so that the ledger is asked only about what it holds."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spanledger.collector.columns.chunks import Flags
from spanledger.collector.columns.keys import Keys, distinct, mixed
from spanledger.collector.count.evidence import LEAF
from spanledger.collector.count.fingerprint import buckets

#: By how much the clock of an emitter may be ahead of this one's before late evidence is missed in the ledger.
SKEW_MICROS = 5_000_000
#: Records whose keys are kept, about 40 bytes each; of those before, nothing is known but until when they came.
_MOST_RECORDS = 1_000_000
_PART_RECORDS = 125_000
#: Ids of providers are looked up by so many of their bits first: 2 MB, of which an eighth is taken at most.
_TABLE_BITS = 24

Narrow = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class _Part:
    """Sorted keys of so many records, those of their providers' ids, and when the first and the last of them came."""

    keys: Keys
    names: Keys
    records: int
    first: int
    last: int


@dataclass(slots=True)
class Gone:
    """Keys of the records that were let go last, by part; `since` is until when others came that are not known here."""

    since: int | None = None
    _parts: list[_Part] = field(default_factory=list)
    #: which of the places that the last bits of a key name are taken by an id, a bit each
    _table: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))

    def forgot(self, before: int) -> None:
        """What came up to this moment (microseconds since 1970) may be gone without being known here."""
        self.since = max(before, self.since or 0)

    def add(self, narrow: Narrow) -> None:
        """Note the keys of records that are let go now."""
        records, first, last = len(narrow["arrived"]), int(narrow["arrived"].min()), int(narrow["arrived"].max())
        keys = distinct(np.concatenate([ours for _, ours in _keys(narrow, narrow["role"] == LEAF)]))
        names = distinct(np.concatenate([ours for _, ours in _names(narrow)]))
        self._take(names)
        if self._parts and self._parts[-1].records + records <= _PART_RECORDS:
            before = self._parts.pop()
            keys = distinct(np.concatenate([before.keys, keys]), in_runs=True)
            names = distinct(np.concatenate([before.names, names]), in_runs=True)
            records, first, last = records + before.records, min(first, before.first), max(last, before.last)
        self._parts.append(_Part(keys, names, records, first, last))
        if sum(part.records for part in self._parts) > _MOST_RECORDS and len(self._parts) > 1:
            self.forgot(self._parts.pop(0).last)
            self._table[:] = 0
            for part in self._parts:
                self._take(part.names)

    def _take(self, names: Keys) -> None:
        if len(names) and not len(self._table):
            self._table = np.zeros((1 << _TABLE_BITS) // 8, dtype=np.uint8)
        if len(names):
            byte, bit = _place(names)
            np.bitwise_or.at(self._table, byte, bit)

    def named(self, narrow: Narrow) -> tuple[npt.NDArray[np.int64], int]:
        """Which of these records bear an id that a record among what is gone bears, and since when (microseconds) such came."""
        found, since = np.zeros(len(narrow["arrived"]), dtype=bool), int(narrow["arrived"].max(initial=0))
        for rows, names in _names(narrow) if len(self._table) else ():
            byte, bit = _place(names)
            maybe = np.flatnonzero(self._table[byte] & bit)
            maybe = maybe[np.argsort(names[maybe])]
            asked = names[maybe]
            for part in self._parts if len(maybe) else ():
                if len(part.names):
                    hit = part.names[np.minimum(np.searchsorted(part.names, asked), len(part.names) - 1)] == asked
                    found[rows[maybe[hit]]] = True
                    since = min(since, part.first) if hit.any() else since
        return np.flatnonzero(found), since

    def may_hold(self, narrow: Narrow, talking: Flags) -> Flags:
        """Which of these records may have their like among what is gone; `talking` are calls of emitters with several voices,
        since one voice says a call once.

        A record can only describe a call that ran while it ran, so it has its like only among what came after it began.
        """
        started = narrow["started"]
        found: Flags = np.zeros(len(started), dtype=bool)
        if not len(started):
            return found
        if self.since is not None:
            found |= started < self.since + SKEW_MICROS
        parts = [part for part in self._parts if started.min() < part.last + SKEW_MICROS]
        if not parts or found.all():
            return found
        for rows, keys in _keys(narrow, talking):
            order = np.argsort(keys)  # so that neighbours are looked for side by side: a third of the time
            rows, keys = rows[order], keys[order]
            for part in parts:
                place = np.minimum(np.searchsorted(part.keys, keys), len(part.keys) - 1)
                found[rows[part.keys[place] == keys]] = True
        return found

    @property
    def size(self) -> int:
        """Bytes."""
        return self._table.nbytes + sum(part.keys.nbytes + part.names.nbytes for part in self._parts)


def _place(names: Keys) -> tuple[Keys, npt.NDArray[np.uint8]]:
    """Which byte of the table, and which bit of it, stands for each key."""
    place = names & np.uint64((1 << _TABLE_BITS) - 1)
    return place >> np.uint64(3), np.left_shift(np.uint8(1), (place & np.uint64(7)).astype(np.uint8))


def _names(narrow: Narrow) -> list[tuple[npt.NDArray[np.int64], Keys]]:
    """(rows, keys) of what providers call their answers."""
    return [(rows, narrow[name][rows]) for name in ("response", "request") for rows in [np.flatnonzero(narrow[name])]]


def _keys(narrow: Narrow, calls: Flags) -> list[tuple[npt.NDArray[np.int64], Keys]]:
    """(rows, keys) by which records that are gone are found: their ids, and of calls emitter, input and time."""
    found = []
    for name in ("trace", "response", "request"):
        rows = np.flatnonzero(narrow[name])
        found.append((rows, narrow[name][rows]))
    # A log record that is delivered again may have no id but its own.
    logs = np.flatnonzero(narrow["span"] == 0)
    found.append((logs, narrow["entry"][logs]))
    rows = np.flatnonzero(calls & (narrow["emitter"] != 0))
    prints = mixed(narrow["emitter"][rows], narrow["input"][rows].view(np.uint64))
    at, bucket = buckets(narrow["started"][rows], narrow["ended"][rows])
    found.append((rows[at], mixed(prints[at], bucket.view(np.uint64))))
    return found
