"""The SQL about prices: one file a statement, values bound by name."""

from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import duckdb
import polars as pl

from spanledger.ledger.frame import frame_of

Query = Literal[
    "to_rerate", "days_with_calls", "unpriced", "reported", "known", "monthly_posted", "traffic", "orphans", "rerated_at"
]

QUERIES: tuple[str, ...] = get_args(Query)


def rows(connection: duckdb.DuckDBPyConnection, query: Query, **values: Any) -> list[dict[str, Any]]:
    """The rows of a statement."""
    found = connection.execute(_text(query), values)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def frame(connection: duckdb.DuckDBPyConnection, query: Query, **values: Any) -> pl.DataFrame:
    """The rows of a statement over entries, as the steps of the collector have them."""
    return frame_of(connection.sql(_text(query), params=values).to_arrow_table())


@cache
def _text(query: Query) -> str:
    return (files("spanledger.collector.pricing") / "sql" / f"{query}.sql").read_text()
