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

Narrow = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class _Part:
    """Sorted keys of so many records, and when the last of them came."""

    keys: Keys
    records: int
    last: int


@dataclass(slots=True)
class Gone:
    """Keys of the records that were let go last, by part; `since` is until when others came that are not known here."""

    since: int | None = None
    _parts: list[_Part] = field(default_factory=list)

    def forgot(self, before: int) -> None:
        """What came up to this moment (microseconds since 1970) may be gone without being known here."""
        self.since = max(before, self.since or 0)

    def add(self, narrow: Narrow) -> None:
        """Note the keys of records that are let go now."""
        records, last = len(narrow["arrived"]), int(narrow["arrived"].max())
        keys = distinct(np.concatenate([ours for _, ours in _keys(narrow, narrow["role"] == LEAF)]))
        if self._parts and self._parts[-1].records + records <= _PART_RECORDS:
            before = self._parts.pop()
            keys = distinct(np.concatenate([before.keys, keys]), in_runs=True)
            records, last = records + before.records, max(last, before.last)
        self._parts.append(_Part(keys, records, last))
        if sum(part.records for part in self._parts) > _MOST_RECORDS and len(self._parts) > 1:
            self.forgot(self._parts.pop(0).last)

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
        return sum(part.keys.nbytes for part in self._parts)


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
