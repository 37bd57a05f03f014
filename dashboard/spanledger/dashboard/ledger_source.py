"""Gives a page its connection to the ledger's newest snapshot."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from spanledger.analytics import connect


@contextmanager
def opened(data: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection for one run of a page: what it shows is of one moment, and it is closed whatever stops the run."""
    connection = connect(data)
    try:
        yield connection
    finally:
        connection.close()
