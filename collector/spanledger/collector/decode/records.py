"""Read the records of an envelope into columns: spans and log records from where they stand, points of metrics by ptars."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from spanledger.collector.decode import wire
from spanledger.collector.decode.attributes import TEXT
from spanledger.collector.decode.envelope import Envelope
from spanledger.collector.decode.messages import Flags, Messages, from_arrow, opened
from spanledger.collector.decode.pairs import Pairs, numbered, pairs_of, together
from spanledger.collector.decode.walk import Ints

_FAILED = 2


@dataclass(frozen=True, slots=True)
class Read:
    """`at` says of which record of the envelope each row is; the `bad` ones of the envelope could not be read, for a reason."""

    at: Ints
    columns: list[pl.Series]
    pairs: Pairs
    bad: list[tuple[int, str]]


def read_spans(envelope: Envelope) -> Read:
    """One row for each span."""
    spans, told = opened(Span, envelope, 0x4A, 0x7A)
    status = spans.within(0x7A)
    code = status.number("status", 0x18)
    trace, traced = spans.ids("trace_id", 0x0A, 16)
    span, named = spans.ids("span_id", 0x12, 8)
    parent, _ = spans.ids("parent_span_id", 0x22, 8)
    columns = [
        trace,
        span,
        parent,
        spans.text("name", 0x2A),
        spans.number("kind", 0x30),
        spans.moment("start", 0x39),
        spans.moment("end", 0x41),
        code,
        status.text("text", 0x12),
        _exceptions(spans, (code == _FAILED).fill_null(False).to_numpy()),
    ]
    if not (whole := traced & named).all():
        columns.append(_digests(envelope, np.flatnonzero(~whole).tolist()))
    return _readable(spans, columns, told)


def read_logs(envelope: Envelope) -> Read:
    """One row for each log record."""
    logs, told = opened(LogRecord, envelope, 0x32, 0x2A)
    columns = [
        logs.ids("trace_id", 0x4A, 16)[0],
        logs.ids("span_id", 0x52, 8)[0],
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
    return Read(frame["at"].to_numpy(), frame.drop("at").get_columns(), together(found), bad)


def _readable(messages: Messages, columns: list[pl.Series], told: Pairs) -> Read:
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


def _digests(envelope: Envelope, chosen: Iterable[int]) -> pl.Series:
    """A hash of resource, scope and record where it has no ids of its own, so that a second delivery is known again."""
    digests: list[str | None] = [None] * len(envelope)
    resources, scopes = list(envelope.around.resources), list(envelope.around.scopes)
    for at in chosen:
        record = envelope.data[envelope.begin[at] : envelope.end[at]].tobytes()
        parts = (resources[envelope.resource[at]], scopes[envelope.scope[at]], record)
        digests[at] = blake2b(b"\0".join(parts), digest_size=16).hexdigest()
    return pl.Series("digest", digests, dtype=pl.String)


def _exceptions(spans: Messages, failed: Flags) -> pl.Series:
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


READERS: dict[str, Callable[[Envelope], Read]] = {"traces": read_spans, "logs": read_logs, "metrics": read_metrics}
