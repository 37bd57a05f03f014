"""Attributes of many records laid end to end: whose each is, its key, and where the bytes of its value stand.

A value is read when a field asks for it, so that prompts and answers, by far the most bytes, are never looked at.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from spanledger.collector.decode import structures
from spanledger.collector.decode.cut import between, cut, rises
from spanledger.collector.decode.walk import Bytes, Ints, varints

#: What a value is: the number of its field in an AnyValue, and nothing.
NOTHING, TEXT, FLAG, WHOLE, REAL, ARRAY, MAP, RAW = range(8)
_ODD = 8
#: First byte of an AnyValue → what it is.
_KINDS = np.full(256, _ODD, dtype=np.uint8)
_KINDS[[0x0A, 0x10, 0x18, 0x21, 0x2A, 0x32, 0x3A]] = TEXT, FLAG, WHOLE, REAL, ARRAY, MAP, RAW
_QUOTE = ord('"')
_SIZED = np.isin(np.arange(9), (TEXT, ARRAY, MAP, RAW))


def _by_first_bytes() -> Ints:
    """For the first two bytes of an AnyValue, the second being the higher: all its bytes, -1 where they do not say it."""
    whole = np.full((256, 256), -1, dtype=np.int64)
    for first in np.flatnonzero(_KINDS != _ODD).tolist():
        whole[:128, first] = 2 + np.arange(128) * _SIZED[_KINDS[first]]
    whole[:, 0x21] = 9
    return whole.ravel()


_WHOLE = _by_first_bytes()
#: For the first byte, how many stand before what it speaks of.
_BEFORE = np.where(_SIZED[_KINDS], 2, 1)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Arrays of one length, in the order of `row`: the record's (or resource's, or scope's) number and its attributes as sent.

    `key` indexes `Telemetry.keys`; `kind` is what the value is; its bytes, without any header, are `data[begin:end]`.
    """

    row: Ints
    key: Ints
    kind: Bytes
    begin: Ints
    end: Ints
    data: pa.Buffer

    @classmethod
    def of(cls, row: Ints, key: Ints, data: Bytes, begin: Ints, end: Ints) -> "Attributes":
        """From values in protobuf that stand at `data[begin:end]`. What is no AnyValue reads as nothing."""
        kind, stands, stops = _standing(data, begin, end)
        odd = np.flatnonzero(kind == _ODD)
        if len(odd):
            plain = [_plain(data[begin[at] : end[at]].tobytes()) for at in odd.tolist()]
            ends = len(data) + np.cumsum([len(each) for each in plain])
            begin, end = begin.copy(), end.copy()
            begin[odd], end[odd] = ends - [len(each) for each in plain], ends
            data = np.concatenate([data, np.frombuffer(b"".join(plain), dtype=np.uint8)])
            kind, stands, stops = _standing(data, begin, end)
            kind[kind == _ODD] = NOTHING
            stands = np.minimum(stands, stops)
        return cls(row, key, kind, stands, stops, pa.py_buffer(data))

    @classmethod
    def none(cls) -> "Attributes":
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros(0, dtype=np.uint8), nothing, nothing, pa.py_buffer(b""))

    def __len__(self) -> int:
        return len(self.row)

    @staticmethod
    def joined(parts: list["Attributes"]) -> "Attributes":
        """The parts one after another; their rows must rise from each to the next."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else Attributes.none()
        shift = np.cumsum([0, *(part.data.size for part in parts[:-1])]).tolist()
        return Attributes(
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.key for part in parts]),
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.begin + by for part, by in zip(parts, shift, strict=True)]),
            np.concatenate([part.end + by for part, by in zip(parts, shift, strict=True)]),
            pa.py_buffer(b"".join(part.data for part in parts)),
        )

    def with_texts(self, row: Ints, key: Ints, text: Ints, texts: list[str]) -> "Attributes":
        """With more attributes, by their records, each behind all others of its own; `text` says which of the texts each has."""
        encoded = [each.encode() for each in texts]
        ends = np.cumsum([len(each) for each in encoded])
        begins = ends - [len(each) for each in encoded]
        begins, ends = begins[text] + self.data.size, ends[text] + self.data.size
        place = np.searchsorted(self.row, row, side="right") + np.arange(len(row))
        ours = np.ones(len(self) + len(row), dtype=bool)
        ours[place] = False

        def merged(own: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
            both = np.empty(len(ours), dtype=own.dtype)
            both[ours], both[place] = own, others
            return both

        return Attributes(
            merged(self.row, row),
            merged(self.key, key),
            merged(self.kind, np.full(len(row), TEXT, dtype=np.uint8)),
            merged(self.begin, begins),
            merged(self.end, ends),
            pa.py_buffer(b"".join([self.data, *encoded])),
        )

    def unquoted(self, at: Ints) -> "Attributes":
        """With the texts at these places without the quotes around them."""
        at = at[self.kind[at] == TEXT]
        data, begin, end = np.frombuffer(self.data, dtype=np.uint8), self.begin.copy(), self.end.copy()
        for bound, step, before in ((begin, 1, 0), (end, -1, 1)):
            live = at
            while len(live := live[begin[live] < end[live]]):
                live = live[data[bound[live] - before] == _QUOTE]
                bound[live] += step
        return replace(self, begin=begin, end=end)

    def of_rows(self, kept: npt.NDArray[np.bool_]) -> "Attributes":
        """Those of the records that are kept, which are numbered anew."""
        at = np.flatnonzero(kept[self.row])
        row = (np.cumsum(kept) - 1)[self.row[at]]
        return Attributes(row, self.key[at], self.kind[at], self.begin[at], self.end[at], self.data)

    def kept(self, wanted: npt.NDArray[np.bool_]) -> "Attributes":
        """The attributes with only the wanted of their values, in a buffer of their own; the others say nothing."""
        every = bool(wanted.all())
        values = cut(self.data, self.begin, self.end) if every else self._blobs(np.flatnonzero(wanted))
        _, offsets, data = values.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
        begin, end, kind = bounds[:-1], bounds[1:], self.kind
        if not every:
            before = np.cumsum(wanted)
            begin, end, kind = bounds[before - wanted], bounds[before], np.where(wanted, kind, NOTHING)
        return Attributes(self.row, self.key, kind, begin, end, data or pa.py_buffer(b""))

    def renumbered(self, rows: int, key: Ints) -> "Attributes":
        """With numbers of records that begin at `rows` and of each key the number that `key` says."""
        return Attributes(self.row + rows, key[self.key], self.kind, self.begin, self.end, self.data)

    def unreadable(self) -> Ints:
        """Where strings stand that are no UTF-8."""
        at: Ints = np.flatnonzero(self.kind == TEXT)
        if not len(at):
            return at
        if rises(self.begin[at], self.end[at]):
            apart = between(self.data, self.begin[at], self.end[at], pa.large_string())
            ascii_only = pc.string_is_ascii(apart).to_numpy(zero_copy_only=False)[0::2]
        else:
            ascii_only = np.zeros(len(at), dtype=bool)
        at = at[~ascii_only]
        try:
            self._blobs(at).cast(pa.string())
        except pa.ArrowInvalid:
            return at[[not _is_utf8(blob) for blob in self._blobs(at).to_pylist()]]
        return at[:0]

    def texts(self, at: Ints, keys: list[str]) -> pa.Array:
        """Strings at these places; arrays, and of some keys maps, as JSON; null for all else. `keys` are `Telemetry.keys`."""
        return _placed(self._told(at, keys), len(at))

    def spelled(self, at: Ints, keys: list[str]) -> pa.Array:
        """The values at these places as text, numbers and flags too."""
        kind = self.kind[at]
        parts = self._told(at, keys)
        for what, dtype in ((WHOLE, pl.Int64), (REAL, pl.Float64), (FLAG, pl.Boolean)):
            ours = np.flatnonzero(kind == what)
            if len(ours):
                spelled = pl.Series(self._exact(at[ours], what), dtype=dtype).cast(pl.String)
                parts.append((ours, spelled.to_arrow().cast(pa.string())))
        return _placed(parts, len(at))

    def _told(self, at: Ints, keys: list[str]) -> list[tuple[Ints, pa.Array]]:
        kind = self.kind[at]
        plain, listed, mapped = (np.flatnonzero(kind == what) for what in (TEXT, ARRAY, MAP))
        parts = [(plain, self._strings(at[plain]))]
        if len(listed):
            parts.append((listed, structures.arrays_as_json(self._blobs(at[listed]))))
        if len(mapped):
            mapped = mapped[np.array([key in structures.READ for key in keys])[self.key[at[mapped]]]]
            parts.append((mapped, structures.maps_as_json(self._blobs(at[mapped]))))
        return parts

    def numbers(self, at: Ints) -> npt.NDArray[np.float64]:
        """Whole and real numbers at these places; NaN for all else."""
        kind = self.kind[at]
        found = np.full(len(at), np.nan)
        for what in (WHOLE, REAL):
            ours = kind == what
            if ours.any():
                found[ours] = self._exact(at[ours], what)
        return found

    def lengths(self, at: Ints) -> Ints:
        """Bytes of the values at these places."""
        return cast(Ints, self.end[at] - self.begin[at])

    def _exact(self, at: Ints, kind: int) -> Any:
        data = np.frombuffer(self.data, dtype=np.uint8)
        if kind == REAL:
            return data[self.begin[at][:, None] + np.arange(8)].view("<f8").ravel()
        value, _ = varints(data, self.begin[at])
        return value != 0 if kind == FLAG else value.view(np.int64)

    def _strings(self, at: Ints) -> pa.Array:
        blobs = self._blobs(at)
        try:
            return blobs.cast(pa.string())
        except pa.ArrowInvalid:
            # Of a resource or a scope: records with such text are refused.
            return pa.array([blob.decode(errors="replace") for blob in blobs.to_pylist()], pa.string())

    def _blobs(self, at: Ints) -> pa.Array:
        """The bytes of values, by themselves."""
        return cut(self.data, self.begin[at], self.end[at])


def _placed(parts: list[tuple[Ints, pa.Array]], length: int) -> pa.Array:
    """Texts at their places among so many; null elsewhere."""
    if len(parts[0][0]) == length:
        return parts[0][1]
    index = np.full(length, -1, dtype=np.int64)
    index[np.concatenate([at for at, _ in parts])] = np.arange(sum(len(at) for at, _ in parts))
    return pa.concat_arrays([texts for _, texts in parts]).take(pa.array(index, mask=index < 0))


def _standing(data: Bytes, begin: Ints, end: Ints) -> tuple[Bytes, Ints, Ints]:
    """Kind, begin and end of each value; odd is what a plain writer would not write."""
    if not len(data):
        return np.zeros(len(begin), dtype=np.uint8), begin, end
    first = data.take(begin, mode="clip")
    two = data.take(begin + 1, mode="clip").astype(np.uint16)
    two <<= np.uint16(8)
    two |= first
    kind = _KINDS.take(first)
    stands = begin + _BEFORE.take(first)
    size = end - begin
    rest = np.flatnonzero(_WHOLE.take(two) != size)
    if len(rest):
        kind[rest], stands[rest] = _carefully(data, begin[rest], size[rest])
    return kind, stands, end


def _carefully(data: Bytes, begin: Ints, size: Ints) -> tuple[Bytes, Ints]:
    """As `_standing`, of values of which one byte does not say how long they are, kind and begin."""
    kind = _KINDS.take(data.take(begin, mode="clip"))
    kind[size == 0] = NOTHING
    sized, real = _SIZED[kind], kind == REAL
    number, ends = varints(data, begin + 1)
    number = number.view(np.int64)
    after = np.where(sized, ends + number, np.where(real, begin + 9, ends))
    kind[(kind != NOTHING) & ((after != begin + size) | (sized & (number < 0)))] = _ODD
    return kind, np.minimum(np.where(sized, ends, begin + 1), begin + size)


def _is_utf8(blob: bytes) -> bool:
    try:
        blob.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(blob: bytes) -> bytes:
    """A value as a plain writer writes it; nothing if it cannot be read."""
    try:
        value = AnyValue.FromString(blob)
    except DecodeError:
        return b""
    value.DiscardUnknownFields()
    return value.SerializeToString()
