"""Opening the journal: what an older version left is taken over, and of a damaged file what is intact."""

import logging
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spanledger.collector.journal.file import (
    COLUMNS,
    PLACE,
    ROW,
    JournalError,
    connected,
    made,
    placed_row_of,
    received_of,
    segments_of,
)
from spanledger.collector.journal.segments import Bodies, headed

logger = logging.getLogger(__name__)

_INSERT = f"insert or ignore into bodies ({ROW}) values ({', '.join('?' * 11)})"  # noqa: S608


def opened(path: Path, above: int = 0) -> sqlite3.Connection:
    """The journal, made when there is none; a damaged one is moved aside and its readable bodies above the
    ledger's mark are brought over.

    Raises `JournalError` when the file cannot be opened for another reason.
    """
    lost = not path.exists()
    try:
        connection = connected(path)
        try:
            made(connection)
            # Reads every row but no body: finds a file that was cut short, in milliseconds.
            connection.execute("select count(*), max(sequence) from bodies").fetchone()
            connection.execute("pragma wal_checkpoint(passive)").fetchone()
            if lost and (saved := _brought_over(connection, path, above, None)):
                logger.error("the journal %s was gone; %d bodies in its segments are intact and go on", path, saved)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection
    except sqlite3.OperationalError as error:
        raise JournalError(f"the journal {path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        return _salvaged(path, above, error)


def _salvaged(path: Path, above: int, error: sqlite3.DatabaseError) -> sqlite3.Connection:
    damaged = path.with_name(f"{path.stem}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{path.suffix}")
    for suffix in ("-wal", "-shm", ""):
        found = path.with_name(path.name + suffix)
        if found.exists():
            found.rename(damaged.with_name(damaged.name + suffix))
    connection = connected(path)
    made(connection)
    saved = _brought_over(connection, path, above, damaged)
    logger.error("the journal is damaged (%s); kept as %s; %d bodies in it are intact and go on", error, damaged, saved)
    return connection


def _brought_over(connection: sqlite3.Connection, path: Path, above: int, damaged: Path | None) -> int:
    """Gives how many bodies above a mark could be read, from the damaged file and from the segments' headings."""
    segments = segments_of(path)
    with connection:
        connection.execute("begin immediate")
        for row in () if damaged is None else _readable(damaged, segments, above):
            connection.execute(_INSERT, row)
        # A number that a crash took back was given once more, further on: that body is the one that was acknowledged.
        latest = {one.sequence: placed_row_of(one, checksum, place) for one, checksum, place in headed(segments)}
        connection.executemany(_INSERT, (row for sequence, row in latest.items() if sequence > above))
    return int(connection.execute("select count(*) from bodies").fetchone()[0])


def _readable(path: Path, segments: Path, above: int) -> Iterator[tuple[Any, ...]]:
    """Every row whose body is intact; asked for one by one, because a scan ends at the first bad page."""
    connection = sqlite3.connect(path, isolation_level=None)
    # Otherwise SQLite refuses to read anything of a file that is shorter than its header says.
    connection.execute("pragma writable_schema = on")
    try:
        try:
            # Not max(sequence), which would read the tree's last page: the likeliest one to be gone.
            [(last,)] = connection.execute("select seq from sqlite_sequence where name = 'bodies'").fetchall() or [(above,)]
            known = {row[1] for row in connection.execute("pragma table_info(bodies)")}
        except sqlite3.DatabaseError:
            return
        place = PLACE if "segment" in known else "null, null, null"
        with Bodies(segments) as bodies:
            for sequence in range(above + 1, last + 1):
                try:
                    asked = f"select sequence, {COLUMNS}, {place} from bodies where sequence = ?"  # noqa: S608
                    row = connection.execute(asked, (sequence,)).fetchone()
                    if row is not None and received_of(row, bodies)[1]:
                        yield row
                except (sqlite3.DatabaseError, TypeError):
                    continue
    finally:
        connection.close()
