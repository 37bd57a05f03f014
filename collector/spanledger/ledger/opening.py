"""Open the table of a ledger, or say in one sentence what is wrong with which file."""

import contextlib
import re
import time
from collections.abc import Mapping
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from spanledger.ledger.damage import damaged_log_entries, missing_log_entry
from spanledger.ledger.version import NewerLedger, version_of

_ATTEMPTS = 4
#: The file in a data folder that says where its ledger is when it is not inside: readers are told the data folder only.
_ELSEWHERE = "entries.url"


class LedgerError(Exception):
    """The table is there but cannot be read or written; the message says what is wrong with which file."""


def local_folder(location: str) -> Path | None:
    """The table's folder when it is on this machine."""
    if "://" in location and not location.startswith("file://"):
        return None
    return Path(location.removeprefix("file://")).absolute()


def location_of(data: Path) -> str | None:
    """Folder or URL of a data folder's ledger; None when nothing has been posted yet."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return (data / _ELSEWHERE).read_text(encoding="utf-8").strip()
    return str(data / "entries") if (data / "entries").exists() else None


def note_location(data: Path, url: str | None) -> None:
    """Write into a data folder that its ledger is at a URL or in another folder; None: in its own `entries/`."""
    if url is None:
        (data / _ELSEWHERE).unlink(missing_ok=True)
        return
    folder = local_folder(url)
    written = data / f"{_ELSEWHERE}.new"
    written.write_text(f"{url if folder is None else folder}\n", encoding="utf-8")
    written.replace(data / _ELSEWHERE)


def open_table(location: str, options: Mapping[str, str] | None) -> DeltaTable | None:
    """The newest snapshot; None when there is no table. Raises `LedgerError`.

    A reader can meet maintenance that is just cleaning up the log, so a failure counts only when it lasts.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            table = DeltaTable(location, storage_options=dict(options) if options else None)
            version_of(table)
            return table
        except TableNotFoundError:
            return None
        except NewerLedger as error:
            raise LedgerError(str(error)) from error
        except Exception as error:
            # The client of an object store has tried for seconds already.
            if attempt == _ATTEMPTS or local_folder(location) is None or _torn(location):
                raise LedgerError(_said(location, error)) from error
            time.sleep(0.05 * attempt)
    return None


def _torn(location: str) -> list[Path]:
    folder = local_folder(location)
    return [] if folder is None else damaged_log_entries(folder)


def _said(location: str, error: Exception) -> str:
    torn = _torn(location)
    if torn:
        return (
            f"the ledger {location} cannot be read: its log entry {torn[0]} is half-written. When it is the last one, the "
            "collector sets it aside at its next start and posts its batch again; otherwise put the file back from a backup"
        )
    folder = local_folder(location)
    if folder is not None and (gone := missing_log_entry(folder)) is not None:
        return f"the ledger {location} cannot be read: its log entry {gone} is missing. Put the file back from a backup"
    return f"the ledger {location} cannot be read: {plainly(error)}"


def plainly(error: Exception) -> str:
    """One line of what Delta's client says in many: what it did, and the last of the causes, which is the one that helps."""
    found = [part.strip() for part in re.sub(r"\x1b\[\d+m", "", str(error)).removeprefix("Kernel error -> ").split("↳")]
    parts = [told[1] if (told := re.search("<Message>(.*?)</Message>", part)) else part.split("\n")[0] for part in found if part]
    if not parts:
        return type(error).__name__
    kind = "" if isinstance(error, DeltaError | OSError) else f"{type(error).__name__}: "
    return kind + ": ".join(dict.fromkeys([*parts[:2], parts[-1]]))
