"""Attributes of many records laid end to end: whose each is, its key, and where the bytes of its value stand.

A value is read when a field asks for it, so that prompts and answers, by far the most bytes, are never looked at.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from spanledger.collector import structures

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

#: What a value is: the number of its field in an AnyValue, and nothing.
NOTHING, TEXT, FLAG, WHOLE, REAL, ARRAY, MAP, RAW = range(8)
_ODD = 8
#: First byte of an AnyValue → what it is.
_KINDS = np.full(256, _ODD, dtype=np.uint8)
_KINDS[[0x0A, 0x10, 0x18, 0x21, 0x2A, 0x32, 0x3A]] = TEXT, FLAG, WHOLE, REAL, ARRAY, MAP, RAW
_SIZED = np.isin(np.arange(9), (TEXT, ARRAY, MAP, RAW))
_LONGEST_VARINT = 10


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
    def of(cls, row: Ints, key: Ints, values: pa.Array) -> "Attributes":
        """From values in protobuf. What is no AnyValue reads as nothing."""
        kind, begin, end, data = _standing(values)
        odd = np.flatnonzero(kind == _ODD)
        if len(odd):
            plain = [_plain(values[at].as_py()) for at in odd.tolist()]
            values = pc.replace_with_mask(values, pa.array(kind == _ODD), pa.array(plain, pa.binary()))
            kind, begin, end, data = _standing(values)
            kind[kind == _ODD] = NOTHING
        return cls(row, key, kind, begin, end, data)

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
        """With more attributes, each behind all others of its record; `text` says which of the texts each has."""
        encoded = [each.encode() for each in texts]
        ends = np.cumsum([len(each) for each in encoded])
        begins = ends - [len(each) for each in encoded]
        kind = np.full(len(row), TEXT, dtype=np.uint8)
        more = Attributes(row, key, kind, begins[text], ends[text], pa.py_buffer(b"".join(encoded)))
        both = Attributes.joined([self, more])
        order = np.argsort(both.row, kind="stable")
        return Attributes(both.row[order], both.key[order], both.kind[order], both.begin[order], both.end[order], both.data)

    def of_rows(self, kept: npt.NDArray[np.bool_]) -> "Attributes":
        """Those of the records that are kept, which are numbered anew."""
        at = np.flatnonzero(kept[self.row])
        row = (np.cumsum(kept) - 1)[self.row[at]]
        return Attributes(row, self.key[at], self.kind[at], self.begin[at], self.end[at], self.data)

    def unreadable(self) -> Ints:
        """Where strings stand that are no UTF-8."""
        at: Ints = np.flatnonzero(self.kind == TEXT)
        if not len(at):
            return at
        ascii_only = pc.string_is_ascii(self._between(at, pa.large_string())).to_numpy(zero_copy_only=False)[0::2]
        at = at[~ascii_only]
        try:
            self._blobs(at).cast(pa.string())
        except pa.ArrowInvalid:
            return at[[not _is_utf8(blob) for blob in self._blobs(at).to_pylist()]]
        return at[:0]

    def texts(self, at: Ints, keys: list[str]) -> pa.Array:
        """Strings at these places; arrays, and of some keys maps, as JSON; null for all else. `keys` are `Telemetry.keys`."""
        kind = self.kind[at]
        plain = np.flatnonzero(kind == TEXT)
        if len(plain) == len(at):
            return self._strings(at)
        listed, mapped = np.flatnonzero(kind == ARRAY), np.flatnonzero(kind == MAP)
        mapped = mapped[np.array([keys[key] in structures.READ for key in self.key[at[mapped]].tolist()], dtype=bool)]
        parts = [(plain, self._strings(at[plain]))]
        if len(listed):
            parts.append((listed, structures.array_as_json(self._blobs(at[listed]))))
        if len(mapped):
            parts.append((mapped, structures.map_as_json(self._blobs(at[mapped]))))
        return _placed(parts, len(at))

    def spelled(self, at: Ints, keys: list[str]) -> pa.Array:
        """The values at these places as text, numbers and flags too."""
        kind = self.kind[at]
        texts = self.texts(at, keys)
        parts = []
        for what, dtype in ((WHOLE, pl.Int64), (REAL, pl.Float64), (FLAG, pl.Boolean)):
            ours = np.flatnonzero(kind == what)
            if len(ours):
                spelled = pl.Series(self._exact(at[ours], what), dtype=dtype).cast(pl.String)
                parts.append((ours, spelled.to_arrow().cast(pa.string())))
        return pc.coalesce(texts, _placed(parts, len(at))) if parts else texts

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
        value, _ = _varints(data, self.begin[at])
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
        if not len(at):
            return pa.array([], pa.binary())
        begin, end = self.begin[at], self.end[at]
        if (begin[1:] < end[:-1]).any():
            # Out of order, or several with one text.
            _, first, back = np.unique(begin, return_index=True, return_inverse=True)
            return self._blobs(at[first]).take(pa.array(back))
        return self._between(at, pa.large_binary()).take(pa.array(np.arange(0, 2 * len(at), 2))).cast(pa.binary())

    def _between(self, at: Ints, kind: pa.DataType) -> pa.Array:
        """The bytes of values, and between each two what stands between them, where they lie."""
        bounds = np.empty(2 * len(at), dtype=np.int64)
        bounds[0::2], bounds[1::2] = self.begin[at], self.end[at]
        return pa.Array.from_buffers(kind, 2 * len(at) - 1, [None, pa.py_buffer(bounds), self.data])


def _placed(parts: list[tuple[Ints, pa.Array]], length: int) -> pa.Array:
    """Texts at their places among so many; null elsewhere."""
    index = np.full(length, -1, dtype=np.int64)
    index[np.concatenate([at for at, _ in parts])] = np.arange(sum(len(at) for at, _ in parts))
    return pa.concat_arrays([texts for _, texts in parts]).take(pa.array(index, mask=index < 0))


def _standing(values: pa.Array) -> tuple[Bytes, Ints, Ints, pa.Buffer]:
    """Kind, begin and end of each value, and the bytes in which they stand; odd is what a plain writer would not write."""
    _, offsets, buffer = values.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    begin, end = bounds[:-1], bounds[1:]
    if buffer is None or not buffer.size:
        return np.zeros(len(values), dtype=np.uint8), begin, end, pa.py_buffer(b"")
    data = np.frombuffer(buffer, dtype=np.uint8)
    last = len(data) - 1
    size = end - begin
    kind = _KINDS[data[np.minimum(begin, last)]]
    kind[size == 0] = NOTHING
    after = data[np.minimum(begin + 1, last)]
    stands = begin + 1
    sized = _SIZED[kind]
    # One byte says how long most are, or is all there is of a small number.
    wrong = np.where(sized, after != size - 2, (size != 2) & (kind != NOTHING)) | ((after >= 128) & (kind != NOTHING))
    stands += sized
    rest = np.flatnonzero(wrong & (kind != _ODD))
    if len(rest):
        told = kind[rest]
        number, ends = _varints(data, begin[rest] + 1)
        whole = np.where(_SIZED[told], ends + number.view(np.int64), np.where(told == REAL, begin[rest] + 9, ends))
        stands[rest] = np.where(_SIZED[told], ends, begin[rest] + 1)
        kind[rest[(whole != end[rest]) | (number.view(np.int64) < 0) & _SIZED[told]]] = _ODD
    kind[(kind == REAL) & (size != 9)] = _ODD
    return kind, stands, end, buffer


def _varints(data: Bytes, at: Ints) -> tuple[npt.NDArray[np.uint64], Ints]:
    """The numbers that begin at these places, and where each ends; one that does not end ends nowhere (-1)."""
    value = np.zeros(len(at), dtype=np.uint64)
    end = np.full(len(at), -1, dtype=np.int64)
    live = np.arange(len(at))
    for step in range(_LONGEST_VARINT):
        place = at[live] + step
        inside = place < len(data)
        live, place = live[inside], place[inside]
        byte = data[place]
        value[live] |= (byte & 0x7F).astype(np.uint64) << np.uint64(7 * step)
        done = byte < 128
        end[live[done]] = place[done] + 1
        live = live[~done]
        if not len(live):
            break
    return value, end


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
