"""Copy a journal into one file, while its collector goes on writing it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from spanledger.collector.journal_file import ROW, received_of, row_of, segments_of
from spanledger.collector.segments import Bodies


def with_its_bodies(copy: Path, journal: Path) -> None:
    """Put into the rows of a copy of the journal's SQLite the bodies that stand in the journal's segments.

    A body that has been dropped since the copy was made is left out: whoever it was for has had it. Raises `sqlite3.Error`
    and `OSError`.
    """
    with closing(sqlite3.connect(copy)) as filled, closing(sqlite3.connect(journal, timeout=30)) as original, filled:
        if "segment" not in {row[1] for row in filled.execute("pragma table_info(bodies)")}:
            return  # of an older version: they are in the rows
        rows = filled.execute(f"select {ROW} from bodies where segment is not null order by sequence").fetchall()  # noqa: S608
        with Bodies(segments_of(journal)) as bodies:
            for row in rows:
                received, whole = received_of(row, bodies)
                there = whole or original.execute("select 1 from bodies where sequence = ?", row[:1]).fetchone() is not None
                if there:
                    *_, checksum, body = row_of(received, whole=whole)
                    changed = "segment = null, begin = null, size = null, checksum = ?, body = ?"
                    filled.execute(f"update bodies set {changed} where sequence = ?", (checksum, body, row[0]))  # noqa: S608
                else:
                    filled.execute("delete from bodies where sequence = ?", row[:1])
