"""Gives a page its connection to the ledger's newest snapshot."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import sqlalchemy as sa
from deltalake.exceptions import DeltaError

from spanledger.analytics import connect
from spanledger.ledger.opening import LedgerError


class LedgerUnreadable(Exception):
    """There is a ledger, and it cannot be read; the text says where it is and what is wrong with it."""


@contextmanager
def opened(data: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection for one drawing of a page: what it shows is of one moment. Raises `LedgerUnreadable`."""
    try:
        connection = connect(data)
    except (LedgerError, DeltaError, duckdb.Error, sa.exc.SQLAlchemyError, OSError) as error:
        raise LedgerUnreadable(f"The ledger in {data} cannot be read: {str(error).splitlines()[0]}") from error
    try:
        yield connection
    finally:
        connection.close()
