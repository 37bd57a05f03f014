"""Counters from a large ledger."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import made_entries
from spanledger.control import Control
from spanledger.ledger.connect import connect
from spanledger.ledger.table import Ledger
from spanledger.limits import Limits
from spanledger.prices import Prices


def rebuild(entries: int) -> None:
    """Counters from a ledger of so many calls, over all of which a year's limits reach."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "entries")
        for table in made_entries.days(entries, datetime.now(UTC).date(), 90):
            ledger.post(table, None)
        of = Limits(Control.open(Path(folder) / "control.sqlite"), Prices())
        of.configure([
            {"name": "year", "measure": "cost_usd", "amount": 10**6, "window": "year", "per": ["tenant"]},
            {"name": "month", "measure": "tokens", "amount": 10**12, "window": "month", "per": ["user"]},
            {"name": "rolling", "measure": "requests", "amount": 10**9, "window": "rolling 90d", "per": ["tenant", "model"]},
            {"name": "life", "measure": "cost_usd", "amount": 10**6, "window": "lifetime", "per": ["tenant", "user"]},
        ])  # fmt: skip
        with connect(Path(folder)) as connection:
            began, cpu = time.perf_counter(), time.process_time()
            of.rebuild(connection)
            taken, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"rebuild from {entries:,} entries: {taken:.1f} s ({cpu:.1f} s of CPU), {of.counts()['buckets']:,} buckets")
