"""The name of a data folder's journal: under it the journal's mark stands in the ledger, so that several can feed one ledger.

It lies in a file of its own beside the journal, because it must outlive a journal that is damaged or deleted: the ledger
knows up to where the bodies of that name are in it, and their numbers go on from there.
"""

from pathlib import Path
from uuid import uuid4

from spanledger.collector.journal.file import JournalError
from spanledger.ledger.files import fsync_file, fsync_folder

_FILE = "journal.name"


def journal_name(data: Path) -> str:
    """The name; "" for a journal from before they had names, or where there is none yet. Raises `JournalError`."""
    try:
        name = (data / _FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        name = ""
    if not name.isalnum():
        raise JournalError(f"{data / _FILE} is damaged: it holds no name. Put it back from a backup")
    return name


def give_name(data: Path) -> str:
    """The name, which a folder without a journal is given now; returns when it is on disk."""
    used = (data / "journal.sqlite").exists() or (data / "evidence").exists()
    if not used and not (data / _FILE).exists():
        written = data / f"{_FILE}.new"
        written.write_text(uuid4().hex + "\n", encoding="ascii")
        fsync_file(written)
        written.replace(data / _FILE)
        fsync_folder(data)
    return journal_name(data)
