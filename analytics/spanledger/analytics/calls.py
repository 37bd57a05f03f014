"""Calls one by one, and what can only be told from them: how long they took, how they failed, what has no price."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import duckdb
import pyarrow as pa

from spanledger.analytics.query import run
from spanledger.analytics.selection import Selection, check_dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What the ledger holds: its first and last call, when it last learned of something, and how much there is."""

    first_at: datetime | None
    last_at: datetime | None
    recorded_at: datetime | None
    entries: int
    calls: int


def extent(connection: duckdb.DuckDBPyConnection) -> Extent:
    """From when to when the ledger reaches; nulls when it is empty."""
    return Extent(**run(connection, "extent").to_pylist()[0])


def latest_calls(
    connection: duckdb.DuckDBPyConnection,
    selection: Selection,
    *,
    count: int = 100,
    outcome: Literal["ok", "error"] | None = None,
    after: tuple[datetime, str] | None = None,
) -> pa.Table:
    """The last `count` standing calls of a selection, newest first, at what they cost by now; `after` is the moment and the
    `entry_id` of the call to go on from."""
    at, entry_id = after or (None, None)
    return run(connection, "latest_calls", count=count, outcome=outcome, after_at=at, after_id=entry_id, **selection.bound)


def errors(connection: duckdb.DuckDBPyConnection, selection: Selection) -> pa.Table:
    """Failed calls by provider, model and error, most frequent first."""
    return run(connection, "errors", **selection.bound)


def unpriced_models(connection: duckdb.DuckDBPyConnection, selection: Selection) -> pa.Table:
    """Models without a price, with the reason and what they used."""
    return run(connection, "unpriced", **selection.bound)


def latency(connection: duckdb.DuckDBPyConnection, selection: Selection, dimension: str = "model", *, top: int = 50) -> pa.Table:
    """Quantiles of duration and time to first token in seconds, by one dimension, busiest first. Failed calls are left out."""
    return run(connection, "latency", dimension=check_dimension(dimension), top=top, **selection.bound)
