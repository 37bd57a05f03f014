"""The journal's file: its tables, how a body becomes a row, and what is done with a file that is damaged."""

import logging
import sqlite3
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spanledger.collector.received import Received

logger = logging.getLogger(__name__)

#: Everything of a body but its sequence.
COLUMNS = "received_at, signal, encoding, compression, api_key_id, checksum, body"

SCHEMA = """
create table if not exists bodies (
    sequence    integer primary key autoincrement,  -- never used twice, even when all rows have gone
    received_at integer not null,                   -- microseconds since 1970
    signal      text    not null,
    encoding    text    not null,
    compression text    not null,
    api_key_id  text    not null,
    checksum    integer not null,                   -- CRC-32 of the body: SQLite does not notice a damaged page
    body        blob    not null,
    again       integer not null default 0          -- 1: was set aside and is tried again, so it was handed on already
);
create table if not exists marks (
    reader      text primary key,                   -- ledger, or an exporter
    mark        integer not null                    -- it has read everything up to here
);
create table if not exists set_aside (
    sequence    integer primary key,
    received_at integer not null,
    signal      text    not null,
    encoding    text    not null,
    compression text    not null,
    api_key_id  text    not null,
    checksum    integer not null,
    body        blob    not null,
    reason      text    not null,
    again       integer not null,                   -- 0: nobody asked; 1: try at the next start; 2: try now
    at          integer not null                    -- microseconds since 1970
);
"""

SETTINGS = (
    "page_size = 65536", "journal_mode = wal", "synchronous = full", "wal_autocheckpoint = 512", "journal_size_limit = 67108864",
)  # fmt: skip

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JournalError(Exception):
    """The journal's file cannot be used; the message says why."""


def connected(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        for setting in SETTINGS:
            connection.execute(f"pragma {setting}")
    except UnicodeDecodeError as error:  # SQLite quotes what is damaged in its message
        connection.close()
        raise sqlite3.DatabaseError("what it says of its tables is damaged") from error
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def opened(path: Path, above: int = 0) -> sqlite3.Connection:
    """The journal, made when there is none; a damaged one is moved aside and its readable bodies above the
    ledger's mark are brought over.

    Raises `JournalError` when the file cannot be opened for another reason.
    """
    try:
        connection = connected(path)
        try:
            connection.executescript(SCHEMA)
            if "again" not in {row[1] for row in connection.execute("pragma table_info(bodies)")}:  # before 0.1.0
                connection.execute("alter table bodies add column again integer not null default 0")
            # Reads every row but no body: finds a file that was cut short, in milliseconds.
            connection.execute("select count(*), max(sequence) from bodies").fetchone()
            connection.execute("pragma wal_checkpoint(passive)").fetchone()
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection
    except sqlite3.OperationalError as error:
        raise JournalError(f"the journal {path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        return _salvaged(path, above, error)


def read(
    connection: sqlite3.Connection, after: int, enough_bytes: int, which: str = "true"
) -> tuple[list[Received], list[int], int]:
    """The oldest bodies above `after`, about `enough_bytes` of them, at least one if there is any.

    Gives the intact ones, the sequences of the damaged ones, and the bytes of both.
    """
    intact: list[Received] = []
    damaged: list[int] = []
    size = 0
    statement = f"select sequence, {COLUMNS} from bodies where sequence > ? and {which} order by sequence"  # noqa: S608
    found = connection.execute(statement, (after,))
    for row in found:
        received, whole = received_of(row)
        size += len(received.body)
        if whole:
            intact.append(received)
        else:
            damaged.append(received.sequence)
        if size >= enough_bytes:
            break
    found.close()
    return intact, damaged, size


def row_of(received: Received) -> tuple[int, str, str, str, str, int, bytes]:
    """The columns of a body."""
    at = received.received_at - EPOCH
    return (
        at.days * 86_400_000_000 + at.seconds * 1_000_000 + at.microseconds, received.signal, received.encoding,
        received.compression, received.api_key_id, zlib.crc32(received.body), received.body,
    )  # fmt: skip


def received_of(row: tuple) -> tuple[Received, bool]:  # type: ignore[type-arg]
    """A row (sequence and the columns) as a body, and whether its bytes are those that were received."""
    sequence, received_at, signal, encoding, compression, api_key_id, checksum, body = row
    received = Received(
        sequence=sequence, received_at=EPOCH + timedelta(microseconds=received_at), signal=signal, encoding=encoding,
        compression=compression, api_key_id=api_key_id, body=body,
    )  # fmt: skip
    return received, zlib.crc32(body) == checksum


def _salvaged(path: Path, above: int, error: sqlite3.DatabaseError) -> sqlite3.Connection:
    damaged = path.with_name(f"{path.stem}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{path.suffix}")
    for suffix in ("-wal", "-shm", ""):
        found = path.with_name(path.name + suffix)
        if found.exists():
            found.rename(damaged.with_name(damaged.name + suffix))
    connection = connected(path)
    connection.executescript(SCHEMA)
    saved = 0
    with connection:
        connection.execute("begin immediate")
        for row in _readable(damaged, above):
            connection.execute(f"insert or ignore into bodies (sequence, {COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
            saved += 1
    logger.error("the journal is damaged (%s); kept as %s; %d bodies in it are intact and go on", error, damaged, saved)
    return connection


def _readable(path: Path, above: int) -> Iterator[tuple]:  # type: ignore[type-arg]
    """Every body whose bytes are intact; asked for one by one, because a scan ends at the first bad page."""
    connection = sqlite3.connect(path, isolation_level=None)
    # Otherwise SQLite refuses to read anything of a file that is shorter than its header says.
    connection.execute("pragma writable_schema = on")
    try:
        try:
            # Not max(sequence), which would read the tree's last page: the likeliest one to be gone.
            [(last,)] = connection.execute("select seq from sqlite_sequence where name = 'bodies'").fetchall() or [(above,)]
        except sqlite3.DatabaseError:
            return
        for sequence in range(above + 1, last + 1):
            try:
                row = connection.execute(f"select sequence, {COLUMNS} from bodies where sequence = ?", (sequence,)).fetchone()  # noqa: S608
                if row is not None and received_of(row)[1]:
                    yield row
            except (sqlite3.DatabaseError, TypeError):
                continue
    finally:
        connection.close()
