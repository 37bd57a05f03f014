"""Cut pieces out of a buffer: pieces that stand one behind another are copied in one go."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.decode.walk import Ints

#: Offsets of 32 bits do not reach farther.
_LARGE = 1 << 31


def cut(data: pa.Buffer, begin: Ints, end: Ints) -> pa.Array:
    """The bytes `data[begin:end]`, a binary array."""
    if not len(begin):
        return pa.array([], pa.binary())
    if rises(begin, end):
        kind = pa.binary() if data.size < _LARGE else pa.large_binary()
        apart = between(data, begin, end, kind)
        return pc.take(apart, pa.array(np.arange(0, 2 * len(begin), 2)), boundscheck=False).cast(pa.binary())
    # Those that end before any that follows begins are cut in one go all the same.
    rise = np.r_[end[:-1] <= np.minimum.accumulate(begin[::-1])[::-1][1:], True]
    one, other = np.flatnonzero(rise), np.flatnonzero(~rise)
    place = np.empty(len(begin), dtype=np.int32)
    place[one], place[other] = np.arange(len(one)), np.arange(len(one), len(begin))
    pieces = [cut(data, begin[one], end[one]), _once(data, begin[other], end[other])]
    return pa.concat_arrays(pieces).take(pa.array(place))


def _once(data: pa.Buffer, begin: Ints, end: Ints) -> pa.Array:
    """The same of pieces in any order, of which many may be one and the same."""
    _, first, back = np.unique(begin * (data.size + 1) + end, return_index=True, return_inverse=True)
    begin, end = begin[first], end[first]
    if rises(begin, end):
        return cut(data, begin, end).take(pa.array(back))
    pieces = [data[at:to].to_pybytes() for at, to in zip(begin.tolist(), end.tolist(), strict=True)]
    return pa.array(pieces, pa.binary()).take(pa.array(back))


def between(data: pa.Buffer, begin: Ints, end: Ints, kind: pa.DataType) -> pa.Array:
    """Pieces that rise, and between each two what stands between them, where they lie."""
    bounds = np.empty(2 * len(begin), dtype=np.int32 if kind == pa.binary() else np.int64)
    bounds[0::2], bounds[1::2] = begin, end
    return pa.Array.from_buffers(kind, 2 * len(begin) - 1, [None, pa.py_buffer(bounds), data])


def rises(begin: Ints, end: Ints) -> bool:
    """Whether each piece begins where or behind where the one before ends."""
    return not (begin[1:] < end[:-1]).any()
