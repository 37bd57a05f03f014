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
def opened(data: Path) -> Generator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection for one drawing of a page, since what it shows is of one moment, and a sentence on what it leaves out, or "".

    Files of the ledger that are missing or were cut are left out. Raises `LedgerUnreadable`.
    """
    missing = ""
    try:
        try:
            connection = connect(data)
        except LedgerError as error:
            connection = connect(data, damaged="leave out")
            missing = str(error)
    except (LedgerError, DeltaError, duckdb.Error, sa.exc.SQLAlchemyError, OSError) as error:
        said = str(error).splitlines()[0]
        raise LedgerUnreadable(f"The ledger in {data} cannot be read: {said} See `spanledger doctor --data {data}`.") from error
    try:
        yield connection, missing
    finally:
        connection.close()
