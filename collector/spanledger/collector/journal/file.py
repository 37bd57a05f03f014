"""The journal's file: its tables, and how a body becomes a row.

Large bodies stand in segments (`segments.py`), of which a row says the place; small ones stand in their rows.
"""

import sqlite3
import zlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from spanledger.collector.journal.segments import EPOCH, Bodies, Place, microseconds, sum_of
from spanledger.collector.received import Received

#: Everything of a body but its sequence.
COLUMNS = "received_at, signal, encoding, compression, api_key_id, checksum, body"
#: Where it stands in a segment, in the table of those that wait.
PLACE = "segment, begin, size"
#: What is asked of that table, as `received_of` and `placed_row_of` have it.
ROW = f"sequence, {COLUMNS}, {PLACE}"

SCHEMA = """
create table if not exists bodies (
    sequence    integer primary key autoincrement,  -- never used twice, even when all rows have gone
    received_at integer not null,                   -- microseconds since 1970
    signal      text    not null,
    encoding    text    not null,
    compression text    not null,
    api_key_id  text    not null,
    checksum    integer not null,                   -- CRC-32 of the body in this row, or `sum_of` that in a segment
    segment     integer,                            -- number of the segment; null: the body is in this row
    begin       integer,
    size        integer,
    again       integer not null default 0,         -- 1: was set aside and is tried again, so it was handed on already
    body        blob    not null                    -- empty when it is in a segment
);
create table if not exists marks (
    reader      text primary key,                   -- ledger, or an exporter
    mark        integer not null                    -- it has read everything up to here
);
create table if not exists named (
    name        text    not null                    -- as in journal.name; no row in a journal from before they had names
);
create table if not exists replaying (               -- no row, or what a start has in hand; left by one that died over it
    last        integer not null,                   -- sequence of the newest body
    bodies      integer not null,                   -- how many
    deaths      integer not null                    -- starts that died over these, or over more of which these are a part
);
create table if not exists set_aside (
    sequence    integer primary key,
    received_at integer not null,
    signal      text    not null,
    encoding    text    not null,
    compression text    not null,
    api_key_id  text    not null,
    checksum    integer not null,                   -- CRC-32 of the body; another number for one that was damaged
    body        blob    not null,
    reason      text    not null,
    again       integer not null,                   -- 0: nobody asked; 1: try at the next start; 2: try now
    at          integer not null                    -- microseconds since 1970
);
"""

#: Columns that journals from before 0.1.0 may lack.
_ADDED = {
    "again": "again integer not null default 0", "segment": "segment integer", "begin": "begin integer", "size": "size integer",
}  # fmt: skip

#: Bytes of a body, whichever way it is kept.
SIZE = "coalesce(size, length(body))"

SETTINGS = (
    "page_size = 16384", "journal_mode = wal", "synchronous = full", "wal_autocheckpoint = 1024", "journal_size_limit = 67108864",
)  # fmt: skip


class JournalError(Exception):
    """The journal's file cannot be used; the message says why."""


def segments_of(path: Path) -> Path:
    """The folder of a journal's segments."""
    return path.with_suffix(".bodies")


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


def made(connection: sqlite3.Connection) -> None:
    """Give the file its tables, or those of an older version what they lack. Raises `sqlite3.Error`."""
    connection.executescript(SCHEMA)
    known = {row[1] for row in connection.execute("pragma table_info(bodies)")}
    for name, declared in _ADDED.items():
        if name not in known:
            connection.execute(f"alter table bodies add column {declared}")


def read(
    connection: sqlite3.Connection, segments: Path, after: int, enough_bytes: int, which: str = "true", most: int | None = None
) -> tuple[list[Received], list[int], int]:
    """The oldest bodies above `after`, about `enough_bytes` and at most `most` of them, at least one if there is any.

    Gives the intact ones, the sequences of the damaged ones, and the bytes of both.
    """
    intact: list[Received] = []
    damaged: list[int] = []
    taken = 0
    statement = f"select {ROW} from bodies where sequence > ? and {which} order by sequence limit ?"  # noqa: S608
    found = connection.execute(statement, (after, -1 if most is None else most))
    with Bodies(segments) as bodies:
        for row in found:
            received, whole = received_of(row, bodies)
            taken += len(received.body) if row[-1] is None else row[-1]
            if whole:
                intact.append(received)
            else:
                damaged.append(received.sequence)
            if taken >= enough_bytes:
                break
    found.close()
    return intact, damaged, taken


def row_of(received: Received, *, whole: bool = True) -> tuple[int, str, str, str, str, int, bytes]:
    """The columns of a body that is kept in its row; one that is not `whole` is to be known for it."""
    checksum = zlib.crc32(received.body) ^ (not whole)
    return (*_told(received), checksum, received.body)


def placed_row_of(received: Received, checksum: int, place: Place) -> tuple[Any, ...]:
    """`ROW` of a body that stands in a segment."""
    return (received.sequence, *_told(received), checksum, b"", place.segment, place.begin, place.size)


def received_of(row: Sequence[Any], bodies: Bodies | None = None) -> tuple[Received, bool]:
    """A row (`ROW`, or sequence and `COLUMNS`) as a body, and whether its bytes are those that were received."""
    sequence, received_at, signal, encoding, compression, api_key_id, checksum, body, *place = row
    if bodies is not None and place and place[0] is not None:
        stands = Place(*place)
        body = bodies.at(stands)
        whole = len(body) == stands.size and sum_of(body) == checksum
    else:
        whole = zlib.crc32(body) == checksum
    received = Received(
        sequence=sequence, received_at=EPOCH + timedelta(microseconds=received_at), signal=signal, encoding=encoding,
        compression=compression, api_key_id=api_key_id, body=body,
    )  # fmt: skip
    return received, whole


def _told(received: Received) -> tuple[int, str, str, str, str]:
    return microseconds(received.received_at), received.signal, received.encoding, received.compression, received.api_key_id
