"""Ids that a replay gives again: 32 hex digits mixed from what they describe.

The mixer is splitmix64's finaliser over the words of the ids, by columns; it must never change, since ledgers hold its
results. It spreads, it does not protect: whoever chooses a span id chooses its entry's.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Words = npt.NDArray[np.uint64]


def of_spans(trace_id: pl.Series, span_id: pl.Series) -> pl.Series:
    """Entry ids of spans; both ids must be valid hex of their length."""
    return _mixed(*_words(trace_id, _HIGH, _LOW), *_words(span_id, _HIGH))


def derived(entry_id: pl.Series, salt: str, number: pl.Series | None = None) -> pl.Series:
    """An id that follows from another: of its reversal, of the call posted anew."""
    high, low = _words(entry_id, _HIGH, _LOW)
    said = np.uint64(int.from_bytes(salt.encode()[:8].ljust(8, b"\0"), "big"))
    extra = np.zeros(len(entry_id), dtype=np.uint64) if number is None else number.cast(pl.UInt64).to_numpy()
    return _mixed(high, low, _mix(extra ^ said))


def short(*columns: pl.Series) -> Words:
    """One 64-bit key for what several text columns say together, stable within this process only."""
    return pl.DataFrame([column.alias(str(at)) for at, column in enumerate(columns)]).hash_rows(seed=7).to_numpy()


_HIGH, _LOW = (
    pl.col("").str.slice(at, 16).str.to_integer(base=16, dtype=pl.UInt64, strict=False).fill_null(0).alias(str(at))
    for at in (0, 16)
)


def _words(hexed: pl.Series, *wanted: pl.Expr) -> list[Words]:
    """The first or the second sixteen hex digits as numbers; what is not there is zero."""
    return [part.to_numpy() for part in hexed.alias("").to_frame().select(wanted)]


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
    raw = pa.Array.from_buffers(pa.binary(16), len(high), [None, pa.py_buffer(both)]).cast(pa.binary())
    return pl.Series(pl.from_arrow(raw)).bin.encode("hex")
