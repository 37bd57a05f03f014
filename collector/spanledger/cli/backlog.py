"""What a journal still holds, read beside a running collector without disturbing it."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """`waiting` bodies are on their way into the ledger; `set_aside` ones could not be read, the newest for `reason`. `behind`
    says of each exporter how many bodies it has not had yet, and when the oldest of them came."""

    waiting: int = 0
    set_aside: int = 0
    reason: str = ""
    behind: Mapping[str, tuple[int, datetime]] = field(default_factory=dict)


def backlog(data: Path) -> Backlog:
    """Of the journal in a data folder; nothing where there is none. Raises `sqlite3.Error` when it cannot be read."""
    path = data / "journal.sqlite"
    if not path.exists():
        return Backlog()
    with closing(read_only(path)) as journal:
        marks = dict(journal.execute("select reader, mark from marks").fetchall())
        left = {reader: _above(journal, mark) for reader, mark in marks.items()}
        waiting, _ = left.pop("ledger") if "ledger" in left else _above(journal, 0)
        aside = journal.execute("select count(*) from set_aside").fetchone()[0]
        newest = journal.execute("select reason from set_aside order by at desc, sequence desc limit 1").fetchone()
    behind = {reader: (count, datetime.fromtimestamp(came / 1e6, UTC)) for reader, (count, came) in left.items() if count}
    return Backlog(waiting=waiting, set_aside=aside, reason=newest[0] if newest else "", behind=behind)


def _above(journal: sqlite3.Connection, mark: int) -> tuple[int, int]:
    """How many bodies there are above a mark, and when the oldest came, in microseconds since 1970."""
    found: tuple[int, int] = journal.execute(
        "select count(*), coalesce(min(received_at), 0) from bodies where sequence > ?", (mark,)
    ).fetchone()
    return found


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. Beside a database that is written SQLite wants files of its own; in a folder where
    nobody may write, nobody writes."""
    still = "" if os.access(path.parent, os.W_OK) else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=5)
