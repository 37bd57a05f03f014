"""At the start: whether the ledger is all that was posted to it, and what of it can be read."""

import logging
from collections.abc import Callable

import duckdb

from spanledger.collector.count.evidence_files import EvidenceFiles
from spanledger.ledger.damage import note_unreadable, sentence
from spanledger.ledger.table import Ledger

logger = logging.getLogger(__name__)


def say_what_is_missing(ledger: Ledger, evidence: EvidenceFiles, let_go: int) -> None:
    """Say so when the ledger lacks what was posted to it: its folder is an older one, or was lost. `let_go` is up to where the
    journal has let go of bodies, which it does only once they are in the ledger."""
    mark = ledger.mark()
    if (posted := evidence.posted_beyond(mark, let_go)) is not None:
        logger.error(
            "entries are missing from the ledger %s: it ends at number %d of the journal, and was posted to up to %d, which "
            "the journal has let go of. Put its newest backup in its place while the collector is stopped",
            ledger.table.table_uri, mark, posted,
        )  # fmt: skip


def over_what_is_readable(ledger: Ledger, read: Callable[[], None]) -> None:
    """Read the ledger; what of it cannot be read is said, noted and left out by everybody from then on.

    Raises `duckdb.Error` when no file of it is to blame, and `LedgerError`.
    """
    _noted(ledger, whole=False)
    try:
        read()
    except duckdb.Error:
        if not _noted(ledger, whole=True):
            raise
        read()


def _noted(ledger: Ledger, *, whole: bool) -> bool:
    found = [] if ledger.local is None else note_unreadable(ledger.table, ledger.local, whole=whole)
    if found:
        logger.error("%s", sentence(ledger.table.table_uri, found))
    return bool(found)
