"""What the roll-up must equal: sums taken from the entries themselves."""

from typing import Any

import duckdb

from spanledger.ledger.rollup import DIMENSIONS_OF, STATES, VIEWS, Grain
from spanledger.ledger.schema import MEASURES


def of_rollup(connection: duckdb.DuckDBPyConnection, view: str, grain: Grain) -> list[tuple[Any, ...]]:
    keys = ", ".join(f'"{name}"' for name in ("day", "slot", *DIMENSIONS_OF[grain], *STATES))
    sums = ", ".join(f'sum("{name}")' for name in ("entries", *MEASURES))
    return connection.execute(f"select {keys}, {sums} from {view} group by {keys} order by all").fetchall()


def of_entries(connection: duckdb.DuckDBPyConnection, grain: Grain) -> list[tuple[Any, ...]]:
    dimensions = ", ".join(f'"{name}"' for name in (*DIMENSIONS_OF[grain], *STATES))
    sums = ", ".join(f'sum("{name}")' for name in MEASURES)
    slot = "time_bucket(interval 15 minutes, occurred_at)"
    return connection.execute(
        f"select day, {slot}, {dimensions}, count(*), {sums} from entries group by day, {slot}, {dimensions} order by all"
    ).fetchall()


def assert_equal(connection: duckdb.DuckDBPyConnection) -> None:
    for view, grain in VIEWS.items():
        assert of_rollup(connection, view, grain) == of_entries(connection, grain)
