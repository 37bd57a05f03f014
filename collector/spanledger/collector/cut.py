"""Cut pieces out of a buffer: pieces that stand one behind another are copied in one go."""

import numpy as np
import pyarrow as pa

from spanledger.collector.walk import Ints


def cut(data: pa.Buffer, begin: Ints, end: Ints) -> pa.Array:
    """The bytes `data[begin:end]`, a binary array."""
    if not len(begin):
        return pa.array([], pa.binary())
    if not rises(begin, end):
        _, first, back = np.unique(np.stack([begin, end]), axis=1, return_index=True, return_inverse=True)
        first, back = first.ravel(), back.ravel()
        if not rises(begin[first], end[first]):  # some overlap: each by itself
            return pa.array(
                [data[one:other].to_pybytes() for one, other in zip(begin.tolist(), end.tolist(), strict=True)], pa.binary()
            )
        return cut(data, begin[first], end[first]).take(pa.array(back))
    apart = between(data, begin, end, pa.large_binary())
    return apart.take(pa.array(np.arange(0, 2 * len(begin), 2))).cast(pa.binary())


def between(data: pa.Buffer, begin: Ints, end: Ints, kind: pa.DataType) -> pa.Array:
    """Pieces that rise, and between each two what stands between them, where they lie."""
    bounds = np.empty(2 * len(begin), dtype=np.int64)
    bounds[0::2], bounds[1::2] = begin, end
    return pa.Array.from_buffers(kind, 2 * len(begin) - 1, [None, pa.py_buffer(bounds), data])


def rises(begin: Ints, end: Ints) -> bool:
    """Whether each piece begins where or behind where the one before ends."""
    return not (begin[1:] < end[:-1]).any()
