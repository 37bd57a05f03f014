"""Attributes of records as they were sent: a key, and where its value stands; and the numbers that all keys get together."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.decode.attributes import Attributes
from spanledger.collector.decode.walk import Bytes, Ints


@dataclass(frozen=True, slots=True)
class Pairs:
    """Attributes before their keys have numbers: whose each is, its key, and where its value stands in `data`."""

    row: Ints
    keys: pa.Array
    data: Bytes
    begin: Ints
    end: Ints

    def behind(self, rows: int) -> "Pairs":
        """With so many more rows before them."""
        return Pairs(self.row + rows, self.keys, self.data, self.begin, self.end) if rows else self


def pairs_of(lists: pa.Array, rows: int = 0) -> Pairs:
    """Lists of attributes as ptars reads them; the first list is that of row `rows`."""
    each = lists.flatten()
    values = each.field("value")
    _, offsets, buffer = values.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    data = np.frombuffer(buffer if buffer is not None else b"", dtype=np.uint8)
    row = pc.list_parent_indices(lists).to_numpy().astype(np.int64) + rows
    return Pairs(row, pc.fill_null(each.field("key"), "").cast(pa.binary()), data, bounds[:-1], bounds[1:])


def together(parts: list[Pairs]) -> Pairs:
    """One after the other, over one buffer."""
    if len(parts) == 1:
        return parts[0]
    nothing = np.zeros(0, dtype=np.int64)
    if not parts:
        return Pairs(nothing, pa.array([], pa.binary()), np.zeros(0, dtype=np.uint8), nothing, nothing)
    shift = np.cumsum([0, *(len(part.data) for part in parts[:-1])]).tolist()
    return Pairs(
        np.concatenate([part.row for part in parts]),
        pa.concat_arrays([part.keys for part in parts]),
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.begin + by for part, by in zip(parts, shift, strict=True)]),
        np.concatenate([part.end + by for part, by in zip(parts, shift, strict=True)]),
    )


def numbered(parts: list[Pairs]) -> tuple[list[str], list[Attributes], set[int]]:
    """Every key once, for each part its attributes, and which keys are no UTF-8."""
    encoded = pc.dictionary_encode(pa.concat_arrays([part.keys for part in parts]))
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum([len(part.row) for part in parts]).tolist()
    attributes = [
        Attributes.of(part.row, codes[end - len(part.row) : end], part.data, part.begin, part.end)
        for part, end in zip(parts, ends, strict=True)
    ]
    keys: list[str] = []
    bad: set[int] = set()
    for number, key in enumerate(encoded.dictionary.to_pylist()):
        try:
            keys.append(key.decode())
        except UnicodeDecodeError:
            keys.append(key.decode(errors="replace"))
            bad.add(number)
    return keys, attributes, bad
