"""Read the records of an envelope into columns: spans and log records from where they stand, points of metrics by ptars."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from spanledger.collector import wire
from spanledger.collector.attributes import TEXT, Attributes
from spanledger.collector.cut import cut
from spanledger.collector.envelope import Envelope
from spanledger.collector.walk import PADDING, Bytes, Fields, Ints, pairs, varints, walk

Flags = npt.NDArray[np.bool_]

_FAILED = 2


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


@dataclass(frozen=True, slots=True)
class Read:
    """`at` says of which record of the envelope each row is; the `bad` ones of the envelope could not be read, for a reason."""

    at: Ints
    columns: list[pl.Series]
    pairs: Pairs
    bad: list[tuple[int, str]]


def read_spans(envelope: Envelope) -> Read:
    """One row for each span."""
    spans, told = _opened(Span, envelope, 0x4A, 0x7A)
    status = spans.within(0x7A)
    code = status.number("status", 0x18)
    columns = [
        *(spans.hex(name, tag) for name, tag in (("trace_id", 0x0A), ("span_id", 0x12), ("parent_span_id", 0x22))),
        spans.text("name", 0x2A),
        spans.number("kind", 0x30),
        spans.moment("start", 0x39),
        spans.moment("end", 0x41),
        code,
        status.text("text", 0x12),
        _exceptions(spans, (code == _FAILED).fill_null(False).to_numpy()),
    ]
    trace, span = pl.col("trace_id"), pl.col("span_id")
    whole = (trace.str.len_bytes() == 32) & (trace != "0" * 32) & (span.str.len_bytes() == 16) & (span != "0" * 16)
    odd = pl.DataFrame(columns[:2]).select(~whole.fill_null(False)).to_series()
    if odd.any():
        columns.append(_digests(envelope, odd.arg_true().to_list()))
    return _readable(spans, columns, told)


def read_logs(envelope: Envelope) -> Read:
    """One row for each log record."""
    logs, told = _opened(LogRecord, envelope, 0x32, 0x2A)
    columns = [
        logs.hex("trace_id", 0x4A),
        logs.hex("span_id", 0x52),
        logs.text("name", 0x62),
        logs.within(0x2A).text("text", 0x0A),
        logs.moment("end", 0x09),
        logs.moment("observed", 0x59),
        _digests(envelope, range(len(envelope))),
    ]
    return _readable(logs, columns, told)


def read_metrics(envelope: Envelope) -> Read:
    """One row for each point."""
    metrics, bad = wire.read("Metric", envelope.records())
    frames: list[pl.DataFrame] = []
    found: list[Pairs] = []
    rows = 0
    for kind in ("sum", "histogram", "exponential", "gauge"):
        column = metrics.column(kind)
        lists = pc.struct_field(column, 0)
        points = lists.flatten()
        if not len(points):
            continue
        at = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        of = pa.array(at)
        if kind in ("sum", "gauge"):
            value = pc.coalesce(points.field("real"), pc.cast(points.field("whole"), pa.float64(), safe=False))
            counted = pa.nulls(len(points), pa.float64())
        else:
            value, counted = points.field("sum"), pc.cast(points.field("count"), pa.float64(), safe=False)
        frames.append(
            pl.DataFrame(
                [
                    pl.Series("at", at),
                    from_arrow("name", metrics.column("name").take(of)),
                    from_arrow("unit", metrics.column("unit").take(of)),
                    from_arrow("start", points.field("start")),
                    from_arrow("end", points.field("time")),
                    from_arrow("value", value),
                    from_arrow("points", counted),
                    from_arrow("temporality", pc.struct_field(column, 1).take(of)),
                ]
            ).with_columns(
                from_arrow("monotonic", pc.struct_field(column, 2).take(of))
                if kind == "sum"
                else pl.lit(kind != "gauge").alias("monotonic")
            )
        )
        found.append(pairs_of(points.field("attributes"), rows))
        rows += len(points)
    frame = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame(schema={"at": pl.Int64})
    return Read(frame["at"].to_numpy(), frame.drop("at").get_columns(), _together(found), bad)


def pairs_of(lists: pa.Array, rows: int = 0) -> Pairs:
    """Lists of attributes as ptars reads them; the first list is that of row `rows`."""
    each = lists.flatten()
    values = each.field("value")
    _, offsets, buffer = values.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    data = np.frombuffer(buffer if buffer is not None else b"", dtype=np.uint8)
    row = pc.list_parent_indices(lists).to_numpy().astype(np.int64) + rows
    return Pairs(row, pc.fill_null(each.field("key"), "").cast(pa.binary()), data, bounds[:-1], bounds[1:])


def _together(parts: list[Pairs]) -> Pairs:
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


@dataclass(frozen=True, slots=True)
class _Messages:
    """The fields of so many messages, one column at a time; `bad` takes the reasons why some cannot be read."""

    data: Bytes
    fields: Fields
    count: int
    bad: dict[int, str]

    def hex(self, name: str, tag: int) -> pl.Series:
        """Ids in hex; an empty one is none."""
        begin, end, there = self.fields.last(tag, self.count)
        ids = from_arrow(name, cut(pa.py_buffer(self.data), begin[there], end[there]))
        return _placed(ids.bin.encode("hex"), there & (end > begin), there)

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
        value = self.data[begin[there][:, None] + np.arange(8)].view("<u8").ravel()
        return _placed(pl.Series(name, value, dtype=pl.UInt64), there, there)

    def within(self, tag: int) -> "_Messages":
        """The messages that stand in this field; an empty one where there is none."""
        begin, end, _ = self.fields.last(tag, self.count)
        fields = walk(self.data, begin, end)
        self.bad.update(dict.fromkeys(fields.odd.tolist(), "one of its messages cannot be followed"))
        return _Messages(self.data, fields, self.count, self.bad)

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


def _opened(kind: type[Message], envelope: Envelope, attributes: int, inner: int) -> tuple[_Messages, Pairs]:
    """The records of an envelope and their attributes. What protobuf's own reader reads and `walk` cannot is written anew.

    `inner` is a field with a message that is read.
    """
    count = len(envelope)
    messages = _Messages(envelope.data, walk(envelope.data, envelope.begin, envelope.end), count, {})
    told, lost = messages.pairs(attributes)
    odd = np.unique(np.concatenate([messages.fields.odd, lost, messages.fields.repeated(inner)]))
    if len(odd):
        bad: dict[int, str] = {}
        data, begin, end = _written_anew(kind, envelope, odd.tolist(), bad)
        messages = _Messages(data, walk(data, begin, end), count, bad)
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


def _readable(messages: _Messages, columns: list[pl.Series], told: Pairs) -> Read:
    """The messages that could be read, in these columns of all."""
    bad = messages.bad
    if not bad:
        return Read(np.arange(messages.count), columns, told, [])
    good = np.ones(messages.count, dtype=bool)
    good[list(bad)] = False
    at = np.flatnonzero(good[told.row])
    row = (np.cumsum(good) - 1)[told.row[at]]
    left = Pairs(row, told.keys.take(pa.array(at)), told.data, told.begin[at], told.end[at])
    return Read(np.flatnonzero(good), [column.filter(pl.Series(good)) for column in columns], left, sorted(bad.items()))


def _placed(found: pl.Series, good: Flags, there: Flags) -> pl.Series:
    """Values of the messages that have one as a column of all; null where there is none, or no good one."""
    if good.all():
        return found
    column = pl.Series(found.name, [None], dtype=found.dtype).new_from_index(0, len(good))
    return column.scatter(np.flatnonzero(good), found.filter(pl.Series(good[there]))) if good.any() else column


def _digests(envelope: Envelope, chosen: Iterable[int]) -> pl.Series:
    """A hash of resource, scope and record where it has no ids of its own, so that a second delivery is known again."""
    digests: list[str | None] = [None] * len(envelope)
    resources, scopes = list(envelope.around.resources), list(envelope.around.scopes)
    for at in chosen:
        record = envelope.data[envelope.begin[at] : envelope.end[at]].tobytes()
        parts = (resources[envelope.resource[at]], scopes[envelope.scope[at]], record)
        digests[at] = blake2b(b"\0".join(parts), digest_size=16).hexdigest()
    return pl.Series("digest", digests, dtype=pl.String)


def _exceptions(spans: _Messages, failed: Flags) -> pl.Series:
    """exception.type of the first exception among the events of each failed span."""
    nothing = pl.Series("exception", [None], dtype=pl.String).new_from_index(0, len(failed))
    if not failed.any():
        return nothing
    row, events = spans.each(0x5A, failed)
    if not len(row):
        return nothing
    read, _ = wire.read("Event", events)
    keys, (attributes,), _ = numbered([pairs_of(read.column("attributes"))])
    of_type = np.flatnonzero(np.array([key == "exception.type" for key in keys], dtype=bool)[attributes.key])
    of_type = of_type[(attributes.kind[of_type] == TEXT)]
    named = pc.equal(read.column("name"), "exception").fill_null(False).to_numpy(zero_copy_only=False)
    of_type = of_type[named[attributes.row[of_type]]]
    thrown = pl.DataFrame(
        {"row": row[attributes.row[of_type]], "type": from_arrow("type", attributes.texts(of_type, keys))}
    ).unique("row", keep="first", maintain_order=True)  # fmt: skip
    return nothing.scatter(thrown["row"], thrown["type"]) if thrown.height else nothing


def _decoded(blob: bytes) -> str | None:
    try:
        return blob.decode()
    except UnicodeDecodeError:
        return None


def from_arrow(name: str, column: pa.Array) -> pl.Series:
    """An array as a named series."""
    return cast(pl.Series, pl.from_arrow(column)).alias(name)


READERS: dict[str, Callable[[Envelope], Read]] = {"traces": read_spans, "logs": read_logs, "metrics": read_metrics}
