"""Many messages of one kind, read where they stand: one field of all of them is one column."""

from binascii import hexlify
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from google.protobuf.message import DecodeError, Message

from spanledger.collector.decode.cut import cut
from spanledger.collector.decode.envelope import Envelope
from spanledger.collector.decode.pairs import Pairs
from spanledger.collector.decode.walk import PADDING, Bytes, Fields, Ints, pairs, pieces, varints, walk

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Messages:
    """The fields of so many messages, one column at a time; `bad` takes the reasons why some cannot be read."""

    data: Bytes
    fields: Fields
    count: int
    bad: dict[int, str]

    def ids(self, name: str, tag: int, width: int) -> tuple[pl.Series, Flags]:
        """Ids in hex, of which an empty one is none, and which of them have so many bytes and are not all zero."""
        begin, end, there = self.fields.last(tag, self.count)
        size = end - begin
        full = size == width
        held = pieces(self.data, begin[full], f"V{width}")
        whole = full.copy()
        whole[full] = held.view(np.uint64).reshape(-1, width // 8).any(axis=1)
        if (full | (size == 0)).all():
            ends = np.zeros(self.count + 1, dtype=np.int32)
            np.cumsum(2 * size, out=ends[1:])
            valid = None if full.all() else pa.py_buffer(np.packbits(full, bitorder="little"))
            digits = pa.py_buffer(hexlify(held.data))
            return from_arrow(name, pa.Array.from_buffers(pa.string(), self.count, [valid, pa.py_buffer(ends), digits])), whole
        ids = from_arrow(name, cut(pa.py_buffer(self.data), begin[there], end[there]))
        return _placed(ids.bin.encode("hex"), there & (size > 0), there), whole

    def text(self, name: str, tag: int) -> pl.Series:
        """A string; messages with one that is no UTF-8 cannot be read."""
        begin, end, there = self.fields.last(tag, self.count)
        blobs = cut(pa.py_buffer(self.data), begin[there], end[there])
        try:
            texts = blobs.cast(pa.string())
        except pa.ArrowInvalid:
            told = [_decoded(blob) for blob in blobs.to_pylist()]
            self.bad.update(
                (row, f"its {name} is no UTF-8")
                for row, text in zip(np.flatnonzero(there).tolist(), told, strict=True)
                if text is None
            )
            texts = pa.array(told, pa.string())
        return _placed(from_arrow(name, texts), there, there)

    def number(self, name: str, tag: int) -> pl.Series:
        """A whole number of variable length, of 32 bits."""
        begin, _, there = self.fields.last(tag, self.count)
        value, _ = varints(self.data, begin[there])
        return _placed(pl.Series(name, value.astype(np.int32)), there, there)

    def moment(self, name: str, tag: int) -> pl.Series:
        """A number of eight bytes."""
        begin, _, there = self.fields.last(tag, self.count)
        value = pieces(self.data, begin[there], "<u8")
        return _placed(pl.Series(name, value, dtype=pl.UInt64), there, there)

    def within(self, tag: int) -> "Messages":
        """The messages that stand in this field; an empty one where there is none."""
        begin, end, _ = self.fields.last(tag, self.count)
        fields = walk(self.data, begin, end)
        self.bad.update(dict.fromkeys(fields.odd.tolist(), "one of its messages cannot be followed"))
        return Messages(self.data, fields, self.count, self.bad)

    def each(self, tag: int, wanted: Flags) -> tuple[Ints, pa.Array]:
        """Of the wanted messages all that stands in this field, and whose each is."""
        at = self.fields.where(tag)
        at = at[wanted[self.fields.row[at]]]
        return self.fields.row[at], cut(pa.py_buffer(self.data), self.fields.begin[at], self.fields.end[at])

    def pairs(self, tag: int) -> tuple[Pairs, Ints]:
        """The attributes in this field, and which messages have one that cannot be followed."""
        at = self.fields.where(tag)
        key_begin, key_end, begin, end, odd = pairs(self.data, self.fields.begin[at], self.fields.end[at])
        row = self.fields.row[at]
        return Pairs(row, cut(pa.py_buffer(self.data), key_begin, key_end), self.data, begin, end), row[odd]


def opened(kind: type[Message], envelope: Envelope, attributes: int, inner: int) -> tuple[Messages, Pairs]:
    """The records of an envelope and their attributes. What protobuf's own reader reads and `walk` cannot is written anew.

    `inner` is a field with a message that is read.
    """
    count = len(envelope)
    messages = Messages(envelope.data, walk(envelope.data, envelope.begin, envelope.end), count, {})
    told, lost = messages.pairs(attributes)
    odd = np.unique(np.concatenate([messages.fields.odd, lost, messages.fields.repeated(inner)]))
    if len(odd):
        bad: dict[int, str] = {}
        data, begin, end = _written_anew(kind, envelope, odd.tolist(), bad)
        messages = Messages(data, walk(data, begin, end), count, bad)
        told, _ = messages.pairs(attributes)
    return messages, told


def _written_anew(kind: type[Message], envelope: Envelope, odd: list[int], bad: dict[int, str]) -> tuple[Bytes, Ints, Ints]:
    begin, end = envelope.begin.copy(), envelope.end.copy()
    written = []
    at = len(envelope.data)
    for row in odd:
        plain = b""
        try:
            message = kind.FromString(envelope.data[begin[row] : end[row]].tobytes())
            message.DiscardUnknownFields()
            plain = message.SerializeToString()
        except DecodeError as error:
            bad[row] = str(error)
        written.append(plain)
        begin[row], end[row] = at, at + len(plain)
        at += len(plain)
    return np.frombuffer(b"".join([envelope.data.tobytes(), *written, bytes(PADDING)]), dtype=np.uint8), begin, end


def from_arrow(name: str, column: pa.Array) -> pl.Series:
    """An array as a named series."""
    return cast(pl.Series, pl.from_arrow(column)).alias(name)


def _placed(found: pl.Series, good: Flags, there: Flags) -> pl.Series:
    """Values of the messages that have one as a column of all; null where there is none, or no good one."""
    if good.all():
        return found
    column = pl.Series(found.name, [None], dtype=found.dtype).new_from_index(0, len(good))
    return column.scatter(np.flatnonzero(good), found.filter(pl.Series(good[there]))) if good.any() else column


def _decoded(blob: bytes) -> str | None:
    try:
        return blob.decode()
    except UnicodeDecodeError:
        return None
