"""Ids that a replay gives again: 32 hex digits mixed from what they describe.

The mixer is splitmix64's finaliser over the words of the ids, by columns; it must never change, since ledgers hold its
results. It spreads, it does not protect: whoever chooses a span id chooses its entry's.
"""

import binascii
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from spanledger.collector.columns.keys import words

Words = npt.NDArray[np.uint64]


def of_spans(trace_id: pl.Series, span_id: pl.Series) -> pl.Series:
    """Entry ids of spans; both ids must be valid hex of their length."""
    return _mixed(*_words(trace_id, 2), *_words(span_id, 1))


def derived(entry_id: pl.Series, salt: str, number: pl.Series | None = None) -> pl.Series:
    """An id that follows from another: of its reversal, of the call posted anew."""
    high, low = _words(entry_id, 2)
    said = np.uint64(int.from_bytes(salt.encode()[:8].ljust(8, b"\0"), "big"))
    extra = np.zeros(len(entry_id), dtype=np.uint64) if number is None else number.cast(pl.UInt64).to_numpy()
    return _mixed(high, low, _mix(extra ^ said))


def short(*columns: pl.Series) -> Words:
    """One 64-bit key for what several text columns say together, stable within this process only."""
    return pl.DataFrame([column.alias(str(at)) for at, column in enumerate(columns)]).hash_rows(seed=7).to_numpy()


def _words(hexed: pl.Series, count: int) -> list[Words]:
    """So many times sixteen hex digits as numbers; what is not there is zero."""
    if (told := words(hexed, count)) is not None:
        return [told[:, at] for at in range(count)]
    parts = (hexed.str.slice(16 * at, 16).str.to_integer(base=16, dtype=pl.UInt64, strict=False) for at in range(count))
    return [part.fill_null(0).to_numpy() for part in parts]


def _mix(word: Words) -> Words:
    with np.errstate(over="ignore"):
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return word ^ (word >> np.uint64(31))


def _mixed(high: Words, low: Words, other: Words) -> pl.Series:
    with np.errstate(over="ignore"):
        first = _mix(high + np.uint64(0x9E3779B97F4A7C15) ^ _mix(low ^ _mix(other + np.uint64(0x632BE59BD9B4E019))))
        second = _mix(low + np.uint64(0xD1B54A32D192ED03) ^ _mix(high ^ _mix(other + np.uint64(0x8CB92BA72F3D8DD7))))
    both = np.stack([first, second], axis=1).astype(">u8").tobytes()
    hexed = pa.py_buffer(binascii.hexlify(both))
    ends = pa.py_buffer(np.arange(len(high) + 1, dtype=np.int32) * 32)
    return cast(pl.Series, pl.from_arrow(pa.Array.from_buffers(pa.string(), len(high), [None, ends, hexed])))
