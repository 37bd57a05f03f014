"""Records that have the same attributes in the same order: what names alone decide is decided once for all of them."""

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.decode.attributes import Attributes

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Nobody who sends attributes can know by which numbers they are mixed, nor make two shapes look like one.
_SALT = secrets.randbits(128)


def alike(numbers: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Where each distinct number stands first, in that order, and which of them every one is."""
    index = pc.dictionary_encode(pa.array(numbers)).indices.to_numpy().astype(np.int64)
    first = np.empty(int(index.max(initial=-1)) + 1, dtype=np.int64)
    # The first is written last.
    first[index[::-1]] = np.arange(len(index) - 1, -1, -1)
    return first, index


@dataclass(frozen=True, slots=True)
class Shapes:
    """`of_row[i]` is the shape of record i, `first[s]` a record of shape s; the attributes of i stand at `bounds[i:i+2]`."""

    of_row: Ints
    first: Ints
    bounds: Ints

    @classmethod
    def of(cls, attributes: Attributes, rows: int) -> "Shapes":
        """Shapes of so many records."""
        counts = np.bincount(attributes.row, minlength=rows) if len(attributes) else np.zeros(rows, dtype=np.int64)
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        random = np.random.default_rng(_SALT)
        most = int(attributes.key.max()) + 1 if len(attributes) else 0
        of_key = random.integers(0, 2**64, size=most, dtype=np.uint64)
        with np.errstate(over="ignore"):
            of_place = np.multiply.accumulate(np.full(int(counts.max(initial=0)) + 1, 0x9E3779B97F4A7C15, dtype=np.uint64))
            words = of_key[attributes.key] * of_place[np.arange(len(attributes)) - np.repeat(bounds[:-1], counts)]
            total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(words, dtype=np.uint64)])
            mixed = (total[bounds[1:]] - total[bounds[:-1]]) ^ of_place[counts]
        first, of_row = alike(mixed)
        return cls(of_row, first, bounds)

    def with_parts(self, part: Ints) -> "Shapes":
        """Shapes that are also alike in `part`, a small number for each record."""
        first, of_row = alike(self.of_row * (int(part.max(initial=0)) + 1) + part)
        return Shapes(of_row, first, self.bounds)

    def places(self) -> tuple[Ints, Ints]:
        """For each attribute of the first record of each shape: the shape, and where the attribute stands."""
        counts = self.bounds[self.first + 1] - self.bounds[self.first]
        shape = np.repeat(np.arange(len(self.first)), counts)
        within = np.arange(len(shape)) - np.repeat(np.cumsum(counts) - counts, counts)
        return shape, self.bounds[self.first][shape] + within

    def spread(self, shape: Ints, place: Ints, rows: Flags | None = None) -> tuple[Ints, Ints, Ints]:
        """Some of the attributes of `places()`, in its order, for each record of their shapes: which, the record, where.

        Records come in their order, or only those of `rows`.
        """
        count = np.bincount(shape, minlength=len(self.first))
        begin = np.cumsum(count) - count
        of_row = count[self.of_row]
        if rows is not None:
            of_row[~rows] = 0
        row = np.repeat(np.arange(len(of_row)), of_row)
        which = np.arange(len(row)) + np.repeat(begin[self.of_row] - (np.cumsum(of_row) - of_row), of_row)
        slot = place - self.bounds[self.first[shape]]
        return which, row, self.bounds[row] + slot[which]
