"""A collector in small, to be killed: posts entries under marks and maintains the ledger as hard as it can.

Run as `python posting.py FOLDER [DIGIT]`. Mark m is one entry whose id is m, made on the day m // 20; two days are kept. Says
"on" when it has opened the ledger, then the mark after each round of maintenance. With a digit it is one of several over one
ledger: that is its journal's name, its entries' ids begin with it, and no day is dropped.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spanledger.ledger import compaction, log, rolling
from spanledger.ledger.maintenance import Maintenance
from spanledger.ledger.table import Ledger

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.ledger.made import entries, entry

START = datetime(2100, 1, 1, tzinfo=UTC)
A_DAY = 20
KEPT = timedelta(days=2)


def at(mark: int) -> datetime:
    """When the entry of a mark was made."""
    return START + timedelta(days=mark // A_DAY, minutes=mark % A_DAY)


def run(folder: Path, digit: str) -> None:
    """Until killed."""
    compaction.FAN, log.CHECKPOINT_COMMITS, rolling.WORTH_ROWS = 3, 5, 1
    ledger = Ledger.open(folder, journal=digit)
    mark = ledger.mark()
    # What another is just writing is in no snapshot yet.
    kept, grace = (None, 20.0) if digit else (KEPT, 0.0)
    maintenance = Maintenance(ledger, retention=kept, clock=lambda: at(mark), grace_seconds=grace)
    print("on", flush=True)
    while True:
        for _ in range(4):
            mark += 1
            row = entries(entry(f"{digit or 0}{mark:031x}", occurred_at=at(mark), tenant=f"t{mark % 3}"))
            ledger.post(row, mark)
            ledger.post(row, mark)
        maintenance.round()
        print(mark, flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]), "".join(sys.argv[2:]))
