"""A collector in small, to be killed: posts entries under marks and maintains the ledger as hard as it can.

Run as `python posting.py FOLDER`. Mark m is one entry whose id is m, made on the day m // 20; two days are kept. Says "on"
when it has opened the ledger, then the mark after each round of maintenance.
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


def run(folder: Path) -> None:
    """Until killed."""
    compaction.FAN, log.CHECKPOINT_COMMITS, rolling.WORTH_ROWS = 3, 5, 1
    ledger = Ledger.open(folder)
    mark = ledger.mark()
    maintenance = Maintenance(ledger, retention=KEPT, clock=lambda: at(mark), grace_seconds=0)
    print("on", flush=True)
    while True:
        for _ in range(4):
            mark += 1
            row = entries(entry(f"{mark:032x}", occurred_at=at(mark), tenant=f"t{mark % 3}"))
            ledger.post(row, mark)
            ledger.post(row, mark)
        maintenance.round()
        print(mark, flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
