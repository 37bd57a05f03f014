"""`connect(data)`: the ledger and the control tables in one DuckDB connection."""

from datetime import datetime
from pathlib import Path

import duckdb
import sqlalchemy as sa

from spanledger.analytics.control_tables import define_control_tables
from spanledger.analytics.query import define_macros
from spanledger.ledger.connect import Damage
from spanledger.ledger.connect import connect as connect_ledger
from spanledger.ledger.opening import LedgerError


def connect(
    data: str | Path, *, control: str | None = None, damaged: Damage = "refuse", as_known_on: datetime | None = None
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection, in UTC, on the newest snapshot of the ledger in a data folder.

    It has the views `entries`, `corrections`, `calls`, `rollup` and `rollup_coarse`, the control tables as they are now
    (`limits`, `audit` …), and the macros of the bundled queries. `control` is the control database's URL where it is not
    the folder's `control.sqlite`. What is not there yet is empty. Other connections, and the collector, are not disturbed.
    Raises `LedgerError` naming the file when some of the ledger, or the control database, is damaged; `damaged="leave out"` shows
    everything else.
    With `as_known_on`, an aware moment, everything about entries is as the ledger knew it then.
    """
    connection = connect_ledger(data, damaged=damaged, as_known_on=as_known_on)
    define_macros(connection)
    try:
        define_control_tables(connection, control or f"sqlite:///{Path(data) / 'control.sqlite'}")
    except sa.exc.DBAPIError as error:
        if damaged == "refuse":
            raise LedgerError(
                f"the control database of {data} cannot be read: {error.orig}; its tables are empty here"
            ) from error
        define_control_tables(connection, None)
    return connection
