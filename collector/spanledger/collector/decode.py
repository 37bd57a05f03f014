"""Decode what was received into columns: a frame of records that may be about models, and their attributes.

Nothing here loops over records: requests are split on the wire, records without a trace of a model are told by a
search over their bytes and never parsed, and the rest is read by ptars into Arrow (docs/decisions/020-decoding.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector import wire
from spanledger.collector.attributes import TEXT, Attributes
from spanledger.collector.dialects import MODEL_BYTES, SCOPE_PATTERN
from spanledger.collector.envelope import Envelope, Rejected, Undecodable, split
from spanledger.collector.received import Received, Signal

__all__ = ["Rejected", "Telemetry", "Undecodable", "decode"]

#: Columns of `Telemetry.records`. Times are nanoseconds since 1970 as sent; ids are hex, null when empty.
RECORDS: dict[str, Any] = {
    "signal": pl.String,
    "body": pl.Int64,
    "resource": pl.Int64,
    "scope": pl.Int64,
    "trace_id": pl.String,
    "span_id": pl.String,
    "parent_span_id": pl.String,
    "name": pl.String,
    "text": pl.String,
    "kind": pl.Int32,
    "start": pl.UInt64,
    "end": pl.UInt64,
    "observed": pl.UInt64,
    "status": pl.Int32,
    "exception": pl.String,
    "digest": pl.String,
    "value": pl.Float64,
    "points": pl.Float64,
    "temporality": pl.Int32,
    "monotonic": pl.Boolean,
    "unit": pl.String,
}

BODIES: dict[str, Any] = {"sequence": pl.Int64, "received_at": pl.Datetime("us", "UTC"), "api_key_id": pl.String}
LINKS: dict[str, Any] = {"trace_id": pl.String, "span_id": pl.String, "parent_span_id": pl.String}


@dataclass(slots=True)
class Telemetry:
    """What a batch of bodies holds. `seen` counts all its records, also those that are about no model and were dropped."""

    bodies: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=BODIES))
    records: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RECORDS))
    attributes: Attributes = field(default_factory=Attributes.none)
    resources: Attributes = field(default_factory=Attributes.none)
    scope_attributes: Attributes = field(default_factory=Attributes.none)
    scopes: list[tuple[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    #: Who is whose parent among the spans that say nothing of models themselves, in traces that do.
    links: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LINKS))
    undecodable: list[Undecodable] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    seen: int = 0


def decode(bodies: Sequence[Received], also: str = "") -> Telemetry:
    """Never raises because of what a body holds: what cannot be read is named in `undecodable` and `rejected`.

    `also` finds, as a regular expression over their bytes, further records that are wanted: `Attribution.bytes`.
    """
    telemetry = Telemetry(
        bodies=pl.DataFrame([(b.sequence, b.received_at, b.api_key_id or None) for b in bodies], schema=BODIES, orient="row")
    )
    kept: list[tuple[Signal, Envelope]] = []
    links: list[pl.DataFrame] = []
    for signal in ("traces", "logs", "metrics"):
        ours = [(index, body) for index, body in enumerate(bodies) if body.signal == signal]
        if not ours:
            continue
        envelope, undecodable, rejected = split(ours)
        telemetry.undecodable += undecodable
        telemetry.rejected += rejected
        telemetry.seen += len(envelope.records)
        about_models = _about_models(envelope, also)
        kept.append((signal, _chosen(envelope, about_models)))
        if signal == "traces" and about_models.any() and not about_models.all():
            links.append(_links(envelope.records.filter(pa.array(~about_models))))
    if not any(len(envelope.records) for _, envelope in kept):
        return telemetry
    _read(kept, telemetry)
    if links:
        telemetry.links = _of_known_traces(pl.concat(links), telemetry.records)
    return telemetry


def _about_models(envelope: Envelope, also: str) -> npt.NDArray[np.bool_]:
    """Which records come from a scope that is known to be about models, or hold the bytes of an attribute that is."""
    if not len(envelope.records):
        return np.zeros(0, dtype=bool)
    scope, scopes = _distinct(envelope.scope)
    known = pc.fill_null(pc.match_substring_regex(scopes, pattern=SCOPE_PATTERN), False).to_numpy(zero_copy_only=False)[scope]
    pattern = f"{MODEL_BYTES}|{also}" if also else MODEL_BYTES
    marked = pc.match_substring_regex(envelope.records, pattern=pattern).to_numpy(zero_copy_only=False)
    return cast("npt.NDArray[np.bool_]", known | marked)


def _chosen(envelope: Envelope, wanted: npt.NDArray[np.bool_]) -> Envelope:
    if wanted.all():
        return envelope
    mask = pa.array(wanted)
    return Envelope(envelope.body[wanted], *(part.filter(mask) for part in (envelope.resource, envelope.scope, envelope.records)))


def _read(kept: list[tuple[Signal, Envelope]], telemetry: Telemetry) -> None:
    resource, resources = _distinct(pa.concat_arrays([envelope.resource for _, envelope in kept]))
    scope, scopes = _distinct(pa.concat_arrays([envelope.scope for _, envelope in kept]))
    # An unreadable resource or scope reads as an empty one: its records still count.
    of_scopes, _ = wire.read("Scope", scopes)
    telemetry.scopes = [(each["name"] or "", each["version"] or "") for each in of_scopes.select([0, 1]).to_pylist()]
    pairs: list[tuple[pa.Array, int]] = [(wire.read("Resource", resources)[0].column(0), 0), (of_scopes.column(2), 0)]
    records: list[pl.DataFrame] = []
    envelopes = rows = 0
    for signal, envelope in kept:
        if len(envelope.records):
            frame, attributes = _READERS[signal](envelope, telemetry)
            at = frame["at"].to_numpy()
            records.append(
                frame.drop("at").with_columns(
                    pl.Series("body", envelope.body[at]),
                    pl.Series("resource", resource[at + envelopes]),
                    pl.Series("scope", scope[at + envelopes]),
                    pl.lit(signal).alias("signal"),
                )
            )
            pairs.append((attributes, rows))
            rows += frame.height
        envelopes += len(envelope.records)
    telemetry.records = pl.concat([pl.DataFrame(schema=RECORDS), *records], how="diagonal_relaxed").select(
        pl.col(name).cast(kind) for name, kind in RECORDS.items()
    )
    telemetry.keys, (telemetry.resources, telemetry.scope_attributes, *attributed) = _attributes(pairs)
    telemetry.attributes = Attributes.joined(attributed)
    _refuse(telemetry, np.unique(telemetry.attributes.row[telemetry.attributes.unreadable()]))


def _refuse(telemetry: Telemetry, rows: npt.NDArray[np.int64]) -> None:
    """Take out records with text that is no UTF-8."""
    if not len(rows):
        return
    for body, signal in telemetry.records[rows].select("body", "signal").iter_rows():
        sequence = int(telemetry.bodies["sequence"][body])
        telemetry.rejected.append(Rejected(sequence, 1, f"a record of {signal} with text that is no UTF-8"))
    kept = np.ones(telemetry.records.height, dtype=bool)
    kept[rows] = False
    telemetry.records = telemetry.records.filter(pl.Series(kept))
    telemetry.attributes = telemetry.attributes.of_rows(kept)


def _spans(envelope: Envelope, telemetry: Telemetry) -> tuple[pl.DataFrame, pa.Array]:
    spans = _readable("Span", envelope, telemetry)
    status = spans.column("status")
    code = pc.struct_field(status, 1)
    frame = _ids(spans, ("trace_id", "span_id", "parent_span_id")).with_columns(
        pl.Series("at", np.arange(spans.num_rows)),
        *_series(spans, "name", "kind", "start", "end"),
        _from_arrow("status", code),
        _from_arrow("text", pc.struct_field(status, 0)),
        _exceptions(spans.column("events"), pc.equal(code, 2)),
    )
    trace, span = pl.col("trace_id"), pl.col("span_id")
    whole = (trace.str.len_bytes() == 32) & (trace != "0" * 32) & (span.str.len_bytes() == 16) & (span != "0" * 16)
    odd = frame.select(~whole.fill_null(False)).to_series()
    if odd.any():
        frame = frame.with_columns(_digests(envelope, odd))
    return frame, spans.column("attributes")


def _logs(envelope: Envelope, telemetry: Telemetry) -> tuple[pl.DataFrame, pa.Array]:
    logs = _readable("LogRecord", envelope, telemetry)
    frame = _ids(logs, ("trace_id", "span_id")).with_columns(
        pl.Series("at", np.arange(logs.num_rows)),
        _from_arrow("name", logs.column("event_name")),
        _from_arrow("text", pc.struct_field(logs.column("body"), 0)),
        _from_arrow("end", logs.column("time")),
        *_series(logs, "observed"),
        _digests(envelope, None),
    )
    return frame, logs.column("attributes")


def _metrics(envelope: Envelope, telemetry: Telemetry) -> tuple[pl.DataFrame, pa.Array]:
    """One row for each point."""
    metrics = _readable("Metric", envelope, telemetry)
    frames: list[pl.DataFrame] = []
    pairs: list[pa.Array] = []
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
                    _from_arrow("name", metrics.column("name").take(of)),
                    _from_arrow("unit", metrics.column("unit").take(of)),
                    _from_arrow("start", points.field("start")),
                    _from_arrow("end", points.field("time")),
                    _from_arrow("value", value),
                    _from_arrow("points", counted),
                    _from_arrow("temporality", pc.struct_field(column, 1).take(of)),
                ]
            ).with_columns(
                _from_arrow("monotonic", pc.struct_field(column, 2).take(of))
                if kind == "sum"
                else pl.lit(kind != "gauge").alias("monotonic")
            )
        )
        pairs.append(points.field("attributes"))
    if not frames:
        return pl.DataFrame(schema={"at": pl.Int64}), pa.array(
            [], type=metrics.schema.field("sum").type.field(0).type.value_type.field("attributes").type
        )
    return pl.concat(frames, how="diagonal_relaxed"), pa.concat_arrays(pairs)


_READERS = {"traces": _spans, "logs": _logs, "metrics": _metrics}


def _readable(message: str, envelope: Envelope, telemetry: Telemetry) -> pa.RecordBatch:
    """The records of an envelope; those that cannot be read leave it, and are named as rejected."""
    batch, bad = wire.read(message, envelope.records)
    if not bad:
        return batch
    good = np.ones(len(envelope.records), dtype=bool)
    for index, reason in bad:
        good[index] = False
        sequence = int(telemetry.bodies["sequence"][int(envelope.body[index])])
        telemetry.rejected.append(Rejected(sequence, 1, f"a {message} that cannot be read: {reason}"))
    mask = pa.array(good)
    envelope.body = envelope.body[good]
    envelope.resource, envelope.scope, envelope.records = (
        part.filter(mask) for part in (envelope.resource, envelope.scope, envelope.records)
    )
    return batch.filter(mask)


def _ids(batch: pa.RecordBatch, names: tuple[str, ...]) -> pl.DataFrame:
    """Ids in hex; an empty one is none."""
    return pl.DataFrame([_from_arrow(name, batch.column(name)) for name in names]).select(
        pl.when(pl.col(name).bin.size() > 0).then(pl.col(name).bin.encode("hex")).alias(name) for name in names
    )


def _digests(envelope: Envelope, wanted: pl.Series | None) -> pl.Series:
    """A hash of resource, scope and record where it has no ids of its own, so that a second delivery is known again."""
    digests: list[str | None] = [None] * len(envelope.records)
    chosen = range(len(digests)) if wanted is None else wanted.arg_true().to_list()
    for at in chosen:
        parts = (envelope.resource[at].as_py(), envelope.scope[at].as_py(), envelope.records[at].as_py())
        digests[at] = blake2b(b"\0".join(part or b"" for part in parts), digest_size=16).hexdigest()
    return pl.Series("digest", digests, dtype=pl.String)


def _links(spans: pa.Array) -> pl.DataFrame:
    batch, _ = wire.read("Link", spans)
    return pl.DataFrame([_from_arrow(name, batch.column(name)) for name in LINKS])


def _of_known_traces(links: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    traces = (
        records.lazy().filter(pl.col("signal") == "traces").select(pl.col("trace_id").str.decode("hex", strict=False)).unique()
    )
    return (
        links.lazy()
        .join(traces, on="trace_id", how="semi")
        .select(pl.when(pl.col(name).bin.size() > 0).then(pl.col(name).bin.encode("hex")).alias(name) for name in LINKS)
        .collect()
    )


def _exceptions(events: pa.Array, failed: pa.Array) -> pl.Series:
    """exception.type of the first exception among the events of each failed span."""
    nothing = pl.Series("exception", [None], dtype=pl.String).new_from_index(0, len(events))
    wanted = pc.and_(pc.fill_null(failed, False), pc.greater(pc.list_value_length(events), 0))
    rows = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
    if not len(rows):
        return nothing
    lists = events.take(pa.array(rows))
    read, _ = wire.read("Event", lists.flatten())
    keys, (pairs,) = _attributes([(read.column("attributes"), 0)])
    of_type = np.flatnonzero(np.array([key == "exception.type" for key in keys], dtype=bool)[pairs.key]) if keys else pairs.row
    of_type = of_type[(pairs.kind[of_type] == TEXT)]
    named = pc.equal(read.column("name"), "exception").fill_null(False).to_numpy(zero_copy_only=False)
    of_type = of_type[named[pairs.row[of_type]]]
    row = rows[pc.list_parent_indices(lists).to_numpy()[pairs.row[of_type]]]
    thrown = pl.DataFrame({"row": row, "type": _from_arrow("type", pairs.texts(of_type, keys))}).unique(
        "row", keep="first", maintain_order=True
    )
    return nothing.scatter(thrown["row"], thrown["type"]) if thrown.height else nothing


def _attributes(lists: list[tuple[pa.Array, int]]) -> tuple[list[str], list[Attributes]]:
    """Every key once, and for each column of attribute lists its attributes; rows count from the offset given."""
    pairs = [column.flatten() for column, _ in lists]
    encoded = pc.dictionary_encode(pc.fill_null(pa.concat_arrays([each.field("key") for each in pairs]), ""))
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum([len(each) for each in pairs]).tolist()
    parts = [
        Attributes.of(
            pc.list_parent_indices(column).to_numpy().astype(np.int64) + offset, codes[end - len(each) : end], each.field("value")
        )
        for (column, offset), each, end in zip(lists, pairs, ends, strict=True)
    ]
    return encoded.dictionary.to_pylist(), parts


def _distinct(blobs: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    encoded = pc.dictionary_encode(pc.fill_null(blobs, b""))
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def _series(batch: pa.RecordBatch, *names: str) -> list[pl.Series]:
    return [_from_arrow(name, batch.column(name)) for name in names]


def _from_arrow(name: str, column: pa.Array) -> pl.Series:
    return cast(pl.Series, pl.from_arrow(column)).alias(name)
