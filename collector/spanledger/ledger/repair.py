"""Go on without what is damaged: take files that are missing or cut out of the table, and say what is lost."""

from datetime import UTC, datetime
from pathlib import Path

from spanledger.ledger.damage import Damaged, damaged_files, unreadable_files
from spanledger.ledger.maintenance import files_of
from spanledger.ledger.rewriting import removal
from spanledger.ledger.table import Ledger

#: What is left of such files is kept in this folder of the table's.
KEPT = "_damaged"


def repair(table: Path) -> list[Damaged]:
    """Take the damaged files of a table on this machine out of it in one commit; gives them, with what they held.

    Works while a collector runs. Raises `LedgerError` when the table cannot be opened at all.
    """
    ledger = Ledger.open(table)
    with ledger.lock:
        found = damaged_files(ledger.table, table) + unreadable_files(ledger.table, table, whole=True)
        if not found:
            return []
        gone = {one.path for one in found}
        now = datetime.now(UTC)
        ledger.commit([removal(file, now, data_change=True) for file in files_of(ledger) if file.path in gone], [])
    for one in found:
        if (table / one.path).exists():
            (table / KEPT).mkdir(exist_ok=True)
            (table / one.path).rename(table / KEPT / Path(one.path).name)
    return found
