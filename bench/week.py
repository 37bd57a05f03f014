"""How long a ledger takes to open that was fed one call a second for a week, at the moment when it has the most files.

    .venv/bin/python -m bench.week

The clock is simulated: what compaction would have made of 604,800 commits is computed (`plan`, a round every five seconds), and
a ledger with files of just those sizes is made, with as many log entries after the last checkpoint as there can be.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np

from bench import made_entries
from spanledger.ledger.compaction import File, plan
from spanledger.ledger.connect import connect
from spanledger.ledger.log import CHECKPOINT_COMMITS
from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.table import Ledger

LAST = date(2026, 11, 22)
_DAYS, _ROUND_SECONDS = 7, 5


def fullest(first: datetime) -> dict[str, File]:
    """The files at the moment in the week when there are most."""
    files: dict[str, File] = {}
    most: dict[str, File] = {}
    for second in range(0, _DAYS * 86_400, _ROUND_SECONDS):
        now = first + timedelta(seconds=second)
        files |= {f"{second + n}": File(f"{second + n}", now.date(), 1, 20_000, now) for n in range(_ROUND_SECONDS)}
        if len(files) > len(most):
            most = dict(files)
        for number, group in enumerate(plan(files.values(), now)):
            for file in group.files:
                del files[file.path]
            path, rows = f"{second}/{number}", sum(file.rows for file in group.files)
            files[path] = File(path, group.files[0].day, rows, rows * 60, now, ordered=group.finally_, sorted=True)
    return most


@contextmanager
def timed(kept: list[float]) -> Generator[None]:
    """Note how many milliseconds the block took."""
    began = time.perf_counter()
    yield
    kept.append((time.perf_counter() - began) * 1000)


def main() -> None:
    """Print one line of JSON."""
    files = fullest(datetime.fromisoformat("2026-11-16T00:00:00+00:00"))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "entries")
        chance = np.random.default_rng(7)
        large = [file for file in files.values() if file.rows > 1]
        for number, file in enumerate(large):
            ledger.post(made_entries.made(file.day, file.rows, chance), number + 1)
        ledger.table.create_checkpoint()
        for number in range(CHECKPOINT_COMMITS - 1):
            single = number < len(files) - len(large)
            ledger.post(made_entries.made(LAST, 1, chance) if single else ENTRIES.empty_table(), 1_000 + number)
        started: list[float] = []
        opened: list[float] = []
        counted: list[float] = []
        for _ in range(15):
            with timed(started):
                duckdb.connect().close()
            with timed(opened):
                connection = connect(folder)
            with timed(counted):
                count = connection.execute("select count(*) from entries").fetchone()
            connection.close()
        print(
            json.dumps(
                {
                    "entries": count[0] if count else 0,
                    "files": len(ledger.files()),
                    "log_entries": len(list((Path(folder) / "entries" / "_delta_log").glob("*.json"))),
                    "start_of_duckdb_ms": round(statistics.median(started), 1),
                    "connect_ms": round(statistics.median(opened), 1),
                    "first_count_ms": round(statistics.median(counted), 1),
                }
            )
        )


if __name__ == "__main__":
    main()
