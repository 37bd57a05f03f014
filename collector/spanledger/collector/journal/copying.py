"""Copy a journal into one file, while its collector goes on writing it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from spanledger.collector.journal.file import COLUMNS, ROW, received_of, row_of, segments_of
from spanledger.collector.journal.segments import Bodies

#: A row of those set aside.
_ASIDE = f"sequence, {COLUMNS}, reason, again, at"


def with_its_bodies(copy: Path, journal: Path) -> None:
    """Put into the rows of a copy of the journal's SQLite the bodies that stand in the journal's segments.

    A body that has been set aside since the copy was made is so in the copy, too; one that has been dropped is left out:
    whoever it was for has had it. Raises `sqlite3.Error` and `OSError`.
    """
    with closing(sqlite3.connect(copy)) as filled, closing(sqlite3.connect(journal, timeout=30)) as original, filled:
        if "segment" not in {row[1] for row in filled.execute("pragma table_info(bodies)")}:
            return  # of an older version: they are in the rows
        rows = filled.execute(f"select {ROW} from bodies where segment is not null order by sequence").fetchall()  # noqa: S608
        with Bodies(segments_of(journal)) as bodies:
            for row in rows:
                one = row[:1]
                received, whole = received_of(row, bodies)
                if whole or original.execute("select 1 from bodies where sequence = ?", one).fetchone() is not None:
                    *_, checksum, body = row_of(received, whole=whole)
                    changed = "segment = null, begin = null, size = null, checksum = ?, body = ?"
                    filled.execute(f"update bodies set {changed} where sequence = ?", (checksum, body, *one))  # noqa: S608
                    continue
                filled.execute("delete from bodies where sequence = ?", one)
                aside = original.execute(f"select {_ASIDE} from set_aside where sequence = ?", one).fetchall()  # noqa: S608
                places = ", ".join("?" * 11)
                filled.executemany(f"insert or ignore into set_aside ({_ASIDE}) values ({places})", aside)  # noqa: S608
