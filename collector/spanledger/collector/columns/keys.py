"""Keys of 64 bits by which records find each other: of ids, of names, and of several together.

They are hashes, stable within this process only, of which 0 is none.
"""

import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SEED = 7
_NONE = np.uint64(pl.Series([None], dtype=pl.String).hash(_SEED)[0])
_ODD = np.uint64(0x9E3779B97F4A7C15)
#: Keys are told apart by so many of their bits before they are put in order.
_SLOT_BITS = 18
#: More keys than these are found by a hash table, a fifth of the time of looking each up in order; for fewer it takes longer.
_FEW = 2_000


def hashed(names: Sequence[str]) -> pl.Expr:
    """Columns of text as what `known` makes keys of."""
    return pl.col(names).hash(_SEED)


def known(keys: Keys) -> Keys:
    """Keys, 0 for those of no text."""
    return np.where(keys == _NONE, np.uint64(0), keys)


def keys_of(texts: pl.Series) -> Keys:
    """Keys of ids and names."""
    return known(texts.hash(_SEED).to_numpy())


def entry_keys(ids: pl.Series) -> Keys:
    """Keys of entries, in the order of their ids as far as those are hex."""
    if (both := words(ids, 2)) is not None:
        return both[:, 0].copy()
    leading = ids.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64, strict=False)
    if not leading.null_count():
        keys: Keys = leading.to_numpy()
        return keys
    return np.where(leading.is_not_null().to_numpy(), leading.fill_null(0).to_numpy(), keys_of(ids))


def words(hexed: pl.Series, count: int) -> Keys | None:
    """Texts of so many times sixteen hex digits as numbers, a row of them for each text; None if any is something else.

    A third of the time of cutting them out as texts and reading those.
    """
    texts = hexed.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return None
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if (np.diff(bounds) != 16 * count).any():
        return None
    try:
        told = binascii.unhexlify(memoryview(data)[bounds[0] : bounds[-1]])
    except binascii.Error:
        return None
    return np.frombuffer(told, dtype=">u8").astype(np.uint64).reshape(-1, count)


def mixed(*parts: Keys) -> Keys:
    """One key for several together."""
    with np.errstate(over="ignore"):
        word = parts[0]
        for other in parts[1:]:
            word = (word ^ (word >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + other * _ODD
        return word ^ (word >> np.uint64(32))


def distinct(keys: npt.NDArray[Any], *, in_runs: bool = False) -> npt.NDArray[Any]:
    """These numbers in order, each once; NumPy's own way goes through a hash table, which takes 50 times as long. Keys that come
    `in_runs`, each in order, are merged."""
    ordered = np.sort(keys, kind="stable" if in_runs else None)
    return ordered[firsts(ordered)]


def among(keys: Keys, wanted: Keys) -> Flags:
    """Which of these keys are wanted."""
    found = np.zeros(len(keys), dtype=bool)
    # Most on either side are ruled out by a few of their bits: a tenth of the time, where few are wanted.
    maybe = np.flatnonzero(_perhaps(keys, wanted))
    asked = keys[maybe]
    wanted = wanted[_perhaps(wanted, asked)]
    if len(asked) + len(wanted) > _FEW:
        found[maybe] = pc.is_in(pa.array(asked), value_set=pa.array(wanted)).to_numpy(zero_copy_only=False)
    elif len(wanted):
        ordered = np.sort(wanted)
        found[maybe] = ordered[np.minimum(np.searchsorted(ordered, asked), len(ordered) - 1)] == asked
    return found


def first_places(keys: Keys, of: Keys) -> Rows:
    """For each key the first place at which it stands in those; -1 if nowhere."""
    found: Rows = pc.index_in(pa.array(keys), value_set=pa.array(of)).fill_null(-1).to_numpy().astype(np.int64)
    return found


def _perhaps(keys: Keys, wanted: Keys) -> Flags:
    table = np.zeros(1 << _SLOT_BITS, dtype=bool)
    table[_slots(wanted)] = True
    return table[_slots(keys)]


def repeated(keys: Keys) -> Flags:
    """Which of these keys occur more than once; 0, which is none, never does."""
    found = np.zeros(len(keys), dtype=bool)
    rows, _, sizes = grouped(keys, np.flatnonzero(keys))
    found[rows] = np.repeat(sizes > 1, sizes)
    return found


def grouped(keys: Keys, rows: Rows) -> tuple[Rows, Rows, Rows]:
    """Of these rows those that may share their key with another, by key, where in them each key begins, and how many have it."""
    slots = _slots(keys[rows])
    maybe = rows[np.bincount(slots)[slots] > 1] if len(rows) else rows
    maybe = maybe[np.argsort(keys[maybe], kind="stable")]
    begins = firsts(keys[maybe])
    return maybe, begins, np.diff(np.append(begins, len(maybe)))


def differing(keys: Keys, *said: npt.NDArray[Any]) -> Flags:
    """Which rows have a key under which every one of these says more than one thing."""
    differ = np.zeros(len(keys), dtype=bool)
    rows, begins, sizes = grouped(keys, np.arange(len(keys)))
    if len(begins):
        several = sizes > 1
        for values in said:
            several &= np.minimum.reduceat(values[rows], begins) != np.maximum.reduceat(values[rows], begins)
        differ[rows] = np.repeat(several, sizes)
    return differ


def _slots(keys: Keys) -> Rows:
    return (keys & np.uint64((1 << _SLOT_BITS) - 1)).view(np.int64)


def firsts(ordered: npt.NDArray[Any]) -> Rows:
    """Where in what is in order something new begins."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, dtype=np.int64)


def paired(left: Keys, right: Keys) -> tuple[Rows, Rows]:
    """The places of all pairs of equal keys, those on the left in their order."""
    order = np.argsort(right, kind="stable")
    ordered = right[order]
    begin = np.searchsorted(ordered, left, side="left")
    count = np.searchsorted(ordered, left, side="right") - begin
    place = np.repeat(np.arange(len(left)), count)
    nth = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    return place, order[begin[place] + nth]
