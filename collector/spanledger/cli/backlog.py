"""What a journal still holds, read beside a running collector without disturbing it."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """`waiting` bodies are on their way into the ledger; `set_aside` ones could not be read, the newest for `reason`."""

    waiting: int = 0
    set_aside: int = 0
    reason: str = ""


def backlog(data: Path) -> Backlog:
    """Of the journal in a data folder; nothing where there is none. Raises `sqlite3.Error` when it cannot be read."""
    path = data / "journal.sqlite"
    if not path.exists():
        return Backlog()
    with closing(read_only(path)) as journal:
        waiting = journal.execute("select count(*) from bodies").fetchone()[0]
        aside = journal.execute("select count(*) from set_aside").fetchone()[0]
        newest = journal.execute("select reason from set_aside order by at desc, sequence desc limit 1").fetchone()
    return Backlog(waiting=waiting, set_aside=aside, reason=newest[0] if newest else "")


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. Beside a database that is written SQLite wants files of its own; in a folder where
    nobody may write, nobody writes."""
    still = "" if os.access(path.parent, os.W_OK) else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=5)
