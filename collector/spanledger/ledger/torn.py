"""A last log entry that is half-written, as a power cut can leave it: set aside, so that the ledger opens.

Nothing is lost by that: a batch leaves the journal only when its log entry is on disk, so it is posted again. What is kept
aside is kept with the files of entries that it may name, for whoever wants to look.
"""

import logging
from pathlib import Path

from spanledger.ledger.damage import damaged_log_entries

logger = logging.getLogger(__name__)

_SUFFIX = ".half-written"


def set_aside_torn(table: Path) -> Path | None:
    """Rename the last log entry when it is not whole; gives its new name. One in the midst of others is left for people."""
    log = table / "_delta_log"
    torn = damaged_log_entries(table) if log.exists() else []
    if not torn:
        return None
    last = torn[-1]
    if any(path.stem.isdigit() and int(path.stem) > int(last.stem) for path in log.glob("*.json")) or last.stem == f"{0:020}":
        return None
    aside = last.with_name(last.name + _SUFFIX)
    last.rename(aside)
    logger.error("log entry %s was half-written and is set aside as %s; its batch is still in the journal", last.name, aside.name)
    return aside


def torn_entries(table: Path) -> list[Path]:
    """What was set aside and is still there."""
    return sorted((table / "_delta_log").glob(f"*{_SUFFIX}"))
