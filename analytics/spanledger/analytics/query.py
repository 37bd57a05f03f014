"""Runs the bundled SQL: one statement a file in `sql/`, values bound by name."""

from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import duckdb
import pyarrow as pa

#: The queries: each gives rows.
Query = Literal[
    "daily_spend",
    "errors",
    "extent",
    "latency",
    "latest_calls",
    "spend_by",
    "spend_over_time",
    "totals",
    "unpriced",
]

#: The macros the queries stand on; a connection gets them in this order.
Macro = Literal["wanted", "quarter_of", "quarter_after", "selected", "summed", "summed_coarse"]

#: What a query reads: entries one by one, or their sums where those know all that is asked for.
Source = Literal["selected", "summed", "summed_coarse"]

QUERIES: tuple[Query, ...] = get_args(Query)
MACROS: tuple[Macro, ...] = get_args(Macro)


@cache
def text_of(name: Query | Macro) -> str:
    """The statement in `sql/<name>.sql`."""
    return (files("spanledger.analytics") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def define_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection with `entries` and `corrections` what the queries stand on."""
    for name in MACROS:
        connection.execute(text_of(name))


def run(connection: duckdb.DuckDBPyConnection, name: Query, source: Source = "selected", **values: Any) -> pa.Table:
    """The rows of a query. `values` are exactly the names that its text binds.

    `source` takes the place of `selected` in it: only sums and their dimensions can be had from another.
    """
    text = text_of(name)
    if source != "selected":
        text = text.replace("from selected(", f"from {source}(")
    return connection.sql(text, params=values).to_arrow_table()
