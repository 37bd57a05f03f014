"""Decode what was received into columns: a frame of records that may be about models, and their attributes.

Nothing here reads records one by one: requests are split where their records stand, records without a trace of a model are
told by a search over their bytes and never looked at again, and of the rest the fields are found for all at once
(docs/decisions/dialects-requests-are-split-on-the-wire.md).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.collector.columns.chunks import in_columns
from spanledger.collector.decode import wire
from spanledger.collector.decode.attributes import Attributes
from spanledger.collector.decode.cut import cut
from spanledger.collector.decode.envelope import Around, Crowded, Envelope, Rejected, Undecodable, split
from spanledger.collector.decode.marked import about_models
from spanledger.collector.decode.messages import from_arrow
from spanledger.collector.decode.pairs import Pairs, numbered, pairs_of
from spanledger.collector.decode.records import READERS
from spanledger.collector.decode.telemetry import BODIES, LINKS, RECORDS, Telemetry
from spanledger.collector.decode.walk import Ints, walk
from spanledger.collector.received import Received, Signal

__all__ = ["Crowded", "Rejected", "Telemetry", "Undecodable", "decode"]

#: Records about models of several bodies that are decoded at once, at most: twice what makes a batch.
_MOST_KEPT = 32_000

_TRACE_ID_BYTES = 16


def decode(bodies: Sequence[Received], also: str = "", *, bounded: bool = False) -> Telemetry:
    """Never raises because of what a body holds: what cannot be read is named in `undecodable` and `rejected`. Where
    several bodies are too much at once `Crowded` is raised when it is `bounded`.

    `also` finds, as a regular expression over their bytes, further records that are wanted: `Attribution.bytes`.
    """
    telemetry = Telemetry(
        bodies=pl.DataFrame(
            {
                "sequence": [body.sequence for body in bodies],
                "received_at": [body.received_at for body in bodies],
                "api_key_id": [body.api_key_id or None for body in bodies],
            },
            schema=BODIES,
        )
    )
    around = Around()
    kept: list[tuple[Signal, Envelope]] = []
    others: list[Envelope] = []
    for signal in ("traces", "logs", "metrics"):
        ours = [(index, body) for index, body in enumerate(bodies) if body.signal == signal]
        if not ours:
            continue
        envelope, undecodable, rejected = split(ours, around, bounded=bounded)
        telemetry.undecodable += undecodable
        telemetry.rejected += rejected
        telemetry.seen += len(envelope)
        about = about_models(envelope, list(around.scopes), also)
        kept.append((signal, envelope.chosen(np.flatnonzero(about))))
        if bounded and len(bodies) > 1 and sum(len(found) for _, found in kept) > _MOST_KEPT:
            raise Crowded
        if signal == "traces" and about.any() and not about.all():
            others.append(envelope.chosen(np.flatnonzero(~about)))
    if not any(len(envelope) for _, envelope in kept):
        return telemetry
    _read(kept, around, telemetry)
    if others:
        telemetry.links = pl.concat([_links(envelope, telemetry.records) for envelope in others])
    return telemetry


def _read(kept: list[tuple[Signal, Envelope]], around: Around, telemetry: Telemetry) -> None:
    # An unreadable resource or scope reads as an empty one: its records still count.
    of_resources, _ = wire.read("Resource", pa.array(list(around.resources), pa.binary()))
    of_scopes, _ = wire.read("Scope", pa.array(list(around.scopes), pa.binary()))
    telemetry.scopes = [(each["name"] or "", each["version"] or "") for each in of_scopes.select([0, 1]).to_pylist()]
    found: list[Pairs] = [pairs_of(of_resources.column(0)), pairs_of(of_scopes.column(2))]
    records: list[pl.DataFrame] = []
    rows = 0
    for signal, envelope in kept:
        if not len(envelope):
            continue
        read = READERS[signal](envelope)
        for at, reason in read.bad:
            sequence = int(telemetry.bodies["sequence"][int(envelope.body[at])])
            telemetry.rejected.append(Rejected(sequence, 1, f"a record of {signal} that cannot be read: {reason}"))
        whose = [pl.Series(name, getattr(envelope, name)[read.at]) for name in ("body", "resource", "scope")]
        of_signal = pl.Series("signal", [signal]).new_from_index(0, len(read.at))
        records.append(in_columns(pl.DataFrame([of_signal, *whose, *read.columns]), RECORDS))
        found.append(read.pairs.behind(rows))
        rows += len(read.at)
    telemetry.records = records[0] if len(records) == 1 else pl.concat(records, rechunk=True)
    telemetry.keys, (telemetry.resources, telemetry.scope_attributes, *attributed), bad = numbered(found)
    telemetry.attributes = attributes = Attributes.joined(attributed)
    unreadable = attributes.row[attributes.unreadable()]
    if bad:
        unreadable = np.concatenate([unreadable, attributes.row[np.isin(attributes.key, list(bad))]])
    _refuse(telemetry, np.unique(unreadable))


def _refuse(telemetry: Telemetry, rows: Ints) -> None:
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


def _links(others: Envelope, records: pl.DataFrame) -> pl.DataFrame:
    """Of spans that say nothing of models those whose traces do: ids and parents."""
    traces = records.filter(pl.col("signal") == "traces")["trace_id"].str.decode("hex", strict=False).drop_nulls().unique()
    # The id of a trace stands first in a span, unless an unusual writer wrote it.
    data, begin = others.data, others.begin
    plain = (data[begin] == 0x0A) & (data[begin + 1] == _TRACE_ID_BYTES) & (others.end > begin + 1 + _TRACE_ID_BYTES)
    ids = cut(pa.py_buffer(data), begin + 2, np.where(plain, begin + 2 + _TRACE_ID_BYTES, begin + 2))
    near = others.chosen(np.flatnonzero(~plain | from_arrow("trace_id", ids).is_in(traces.implode()).to_numpy()))
    if not len(near):
        return pl.DataFrame(schema=LINKS)
    fields, buffer = walk(near.data, near.begin, near.end), pa.py_buffer(near.data)
    columns = []
    for name, tag in zip(LINKS, (0x0A, 0x12, 0x22), strict=True):
        start, stop, _ = fields.last(tag, len(near))
        columns.append(from_arrow(name, cut(buffer, start, stop)))
    return (
        pl.DataFrame(columns)
        .lazy()
        .filter(pl.col("trace_id").is_in(traces.implode()))
        .select(pl.when(pl.col(name).bin.size() > 0).then(pl.col(name).bin.encode("hex")).alias(name) for name in LINKS)
        .collect()
    )
