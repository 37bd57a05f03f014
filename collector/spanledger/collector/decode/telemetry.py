"""What decoding gives: a frame of records that may be about models, and their attributes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from spanledger.collector.decode.attributes import Attributes
from spanledger.collector.decode.envelope import Rejected, Undecodable

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


_NOTHING = {kind: pl.DataFrame(schema=schema) for kind, schema in (("bodies", BODIES), ("records", RECORDS), ("links", LINKS))}


@dataclass(slots=True)
class Telemetry:
    """What a batch of bodies holds. `seen` counts all its records, also those that are about no model and were dropped."""

    bodies: pl.DataFrame = field(default_factory=_NOTHING["bodies"].clone)
    records: pl.DataFrame = field(default_factory=_NOTHING["records"].clone)
    attributes: Attributes = field(default_factory=Attributes.none)
    resources: Attributes = field(default_factory=Attributes.none)
    scope_attributes: Attributes = field(default_factory=Attributes.none)
    scopes: list[tuple[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    #: Who is whose parent among the spans that say nothing of models themselves, in traces that do.
    links: pl.DataFrame = field(default_factory=_NOTHING["links"].clone)
    undecodable: list[Undecodable] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    seen: int = 0

    def without_content(self, reads: Callable[[str], bool], longest: int) -> None:
        """Let go of the bodies: keep of values that are longer than `longest` only those of attributes that somebody `reads`."""
        wanted = np.array([reads(key) for key in self.keys] or [False])
        attributes = self.attributes
        self.attributes = attributes.kept(wanted[attributes.key] | (attributes.end - attributes.begin <= longest))

    @staticmethod
    def joined(parts: Sequence["Telemetry"]) -> "Telemetry":
        """The telemetry of several batches as of one."""
        if len(parts) == 1:
            return parts[0]
        keys: dict[str, int] = {}
        numbers = [np.array([keys.setdefault(key, len(keys)) for key in part.keys], dtype=np.int64) for part in parts]
        records, told, around, scopes = [], [], [], []
        bodies = resources = scoped = rows = 0
        for part, number in zip(parts, numbers, strict=True):
            records.append(
                part.records.with_columns(
                    pl.col("body") + bodies, pl.col("resource") + resources, pl.col("scope") + scoped
                )
            )  # fmt: skip
            told.append(part.attributes.renumbered(rows, number))
            around.append(part.resources.renumbered(resources, number))
            scopes.append(part.scope_attributes.renumbered(scoped, number))
            bodies += part.bodies.height
            rows += part.records.height
            resources += 1 + max(part.records["resource"].to_numpy().max(initial=-1), part.resources.row.max(initial=-1))
            scoped += len(part.scopes)
        return Telemetry(
            bodies=pl.concat([part.bodies for part in parts]),
            records=pl.concat(records),
            attributes=Attributes.joined(told),
            resources=Attributes.joined(around),
            scope_attributes=Attributes.joined(scopes),
            scopes=[scope for part in parts for scope in part.scopes],
            keys=list(keys),
            links=pl.concat([part.links for part in parts]),
            undecodable=[each for part in parts for each in part.undecodable],
            rejected=[each for part in parts for each in part.rejected],
            seen=sum(part.seen for part in parts),
        )
