"""The name of a data folder's journal: under it the journal's mark stands in the ledger, so that several can feed one ledger.

It lies in a file of its own beside the journal, because it must outlive a journal that is damaged or deleted: the ledger
knows up to where the bodies of that name are in it, and their numbers go on from there. The journal bears it, too, for the day
on which the file is lost: without a name nothing of the ledger's would be known to come from here.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from spanledger.collector.journal.file import JournalError
from spanledger.ledger.files import fsync_file, fsync_folder

logger = logging.getLogger(__name__)

_FILE = "journal.name"
_JOURNAL = "journal.sqlite"


def journal_name(data: Path) -> str:
    """The name; "" for a journal from before they had names, or where there is none yet. Raises `JournalError`."""
    written, borne = _written(data), _borne(data / _JOURNAL)
    if not borne and written is None:
        return ""
    if not borne and not written:
        raise JournalError(f"{data / _FILE} is damaged: it holds no name. Put it back from a backup")
    if borne and written and borne != written:
        raise JournalError(
            f"{data / _FILE} is not the name of the journal beside it, but of another folder's. Put both back from one backup"
        )
    return borne or written or ""


def give_name(data: Path) -> str:
    """The name, which a folder without a journal is given now; returns when it is on disk. Raises `JournalError`."""
    name, written = journal_name(data), _written(data)
    used = (data / _JOURNAL).exists() or (data / "evidence").exists()
    if not name and used:
        return ""
    if not written:
        if name:
            logger.warning("%s was lost or damaged and is made anew: the journal beside it bears its name", data / _FILE)
        name = name or uuid4().hex
        fresh = data / f"{_FILE}.new"
        fresh.write_text(name + "\n", encoding="ascii")
        fsync_file(fresh)
        fresh.replace(data / _FILE)
        fsync_folder(data)
    return name


def _written(data: Path) -> str | None:
    """What the file says, "" when it holds no name; None where there is none."""
    try:
        name = (data / _FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""
    return name if name.isalnum() else ""


def _borne(journal: Path) -> str:
    """What the journal says; "" where it says nothing, is damaged or is not there."""
    if not journal.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            row = connection.execute("select name from named").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        return ""
    return str(row[0]) if row is not None and str(row[0]).isalnum() else ""
