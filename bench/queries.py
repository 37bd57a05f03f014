"""Seven questions to ten million entries, as the collector leaves them after maintenance, beside DuckDB's own tables.

    .venv/bin/python -m bench.queries [--entries 10000000] [--days 90] [--dir DIR] [--repeat 7]

The entries (`made_entries.py`) are posted a day at a time and put in order by the collector's own maintenance. DuckDB native
is the same rows, in the order of time, in a table of a DuckDB file that holds just the columns that are asked for. Each
question is asked of both in turn, warm, with two threads; medians. With --dir the ledger is kept there and used again.
"""

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from bench import made_entries
from spanledger.ledger.connect import connect
from spanledger.ledger.maintenance import Maintenance
from spanledger.ledger.table import Ledger

UNTIL = date(2026, 11, 22)
TENANT = "tenant-0050"

#: Name → (what is asked of DuckDB's table, what is asked of the ledger).
QUESTIONS: dict[str, tuple[str, str]] = {
    "cost by day and model, 90 days": (
        "select day, model, sum(cost_usd) from native group by all",
        "select day, model, sum(cost_usd) from rollup_coarse group by all",
    ),
    "top 20 tenants this month": (
        "select tenant, sum(cost_usd) as usd from native where day >= $month group by all order by usd desc limit 20",
        "select tenant, sum(cost_usd) as usd from rollup where day >= $month group by all order by usd desc limit 20",
    ),
    "one tenant's daily trend, 90 days": (
        "select day, sum(cost_usd) from native where tenant = $tenant group by all",
        "select day, sum(cost_usd) from rollup where tenant = $tenant group by all",
    ),
    "one tenant, this month's sum": (
        "select sum(cost_usd) from native where tenant = $tenant and day >= $month",
        "select sum(cost_usd) from rollup where tenant = $tenant and day >= $month",
    ),
    "one tenant, last 24 h": (
        "select sum(cost_usd) from native where tenant = $tenant and occurred_at >= $since and day >= $since::date",
        "select sum(cost_usd) from entries where tenant = $tenant and occurred_at >= $since and day >= $since::date",
    ),
    "the same to the quarter of an hour": (
        "select sum(cost_usd) from native where tenant = $tenant and occurred_at >= $quarter and day >= $quarter::date",
        "select sum(cost_usd) from rollup where tenant = $tenant and slot >= $quarter and day >= $quarter::date",
    ),
    "p95 latency by model": (
        "select model, quantile_cont(duration_seconds, 0.95) from native where outcome = 'ok' group by all",
        "select model, quantile_cont(duration_seconds, 0.95) from entries where outcome = 'ok' group by all",
    ),
    "base of a forecast, 60 days": (
        "select day, provider, model, sum(calls), sum(input_tokens), sum(output_tokens),"
        " sum(cost_usd) from native where day > $first group by all",
        "select day, provider, model, sum(calls), sum(input_tokens), sum(output_tokens),"
        " sum(cost_usd) from rollup_coarse where day > $first group by all",
    ),
}
_NATIVE = "day, occurred_at, tenant, provider, model, calls, input_tokens, output_tokens, cost_usd, duration_seconds, outcome"


def build(data: Path, entries: int, days: int) -> dict[str, float]:
    """A ledger with so many entries, in order; gives the seconds of maintenance by step."""
    ledger = Ledger.open(data / "entries")
    for mark, table in enumerate(made_entries.days(entries, UNTIL, days), start=1):
        ledger.post(table, mark)
    return keep(data)


def keep(data: Path) -> dict[str, float]:
    """One round of maintenance on a day when all of the ledger's days are over."""
    long_after = datetime.now(UTC) + timedelta(days=2)
    maintenance = Maintenance(Ledger.open(data / "entries"), clock=lambda: long_after, grace_seconds=0)
    maintenance.round()
    maintenance.round()
    return maintenance.progress.seconds


def measure(ledger: duckdb.DuckDBPyConnection, native: duckdb.DuckDBPyConnection, repeat: int) -> list[dict[str, Any]]:
    """Medians of both, in milliseconds, and their ratio, also of the CPU time; the answers are compared."""
    end = datetime(UNTIL.year, UNTIL.month, UNTIL.day, 17, 40, tzinfo=UTC)
    quarter = end.replace(minute=30) - timedelta(hours=24)
    values = {
        "tenant": TENANT,
        "month": UNTIL.replace(day=1),
        "since": end - timedelta(hours=24),
        "quarter": quarter,
        "first": UNTIL - timedelta(days=60),
    }
    found = []
    for name, statements in QUESTIONS.items():
        times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        answers = []
        for turn in range(repeat + 1):
            for connection, statement, kept in zip((native, ledger), statements, times, strict=True):
                asked = {key: value for key, value in values.items() if f"${key}" in statement}
                began, used = time.perf_counter(), time.process_time()
                rows = connection.execute(statement, asked).fetchall()
                if turn:
                    kept.append(((time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000))
                else:
                    answers.append(sorted(rows, key=repr))
        assert _alike(*answers), name
        (theirs, their_cpu), (ours, our_cpu) = ([statistics.median(of) for of in zip(*way, strict=True)] for way in times)
        found.append(
            {
                "question": name,
                "native_ms": round(theirs, 1),
                "ledger_ms": round(ours, 1),
                "ratio": round(ours / theirs, 2),
                "ratio_of_cpu": round(our_cpu / their_cpu, 2),
            }
        )
    return found


def _alike(one: list[Any], other: list[Any]) -> bool:
    if one == other:
        return True
    return len(one) == len(other) and all(
        a == b or (isinstance(a, float) and abs(a - b) < 1e-6)
        for left, right in zip(one, other, strict=True)
        for a, b in zip(left, right, strict=True)
    )


def main() -> None:
    """Print one line of JSON a question, then what the ledger takes on disk and how long it takes to open."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--dir", type=Path, help="where the ledger is, or is made and kept")
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = args.dir or Path(folder)
        if not (data / "entries").exists():
            print(json.dumps({"maintenance_seconds": build(data, args.entries, args.days)}), flush=True)
        kept = data / "native.duckdb"
        native = duckdb.connect(str(kept))
        ledger = connect(data)
        for connection in (native, ledger):
            connection.execute("set timezone = 'UTC'; set threads = 2")
        if not native.execute("select count(*) from duckdb_tables()").fetchone()[0]:  # type: ignore[index]
            ledger.execute(f"copy (select {_NATIVE} from entries order by occurred_at) to '{data}/native.parquet'")
            native.execute(f"create table native as from '{data}/native.parquet'; checkpoint")
            (data / "native.parquet").unlink()
        for line in measure(ledger, native, args.repeat):
            print(json.dumps(line), flush=True)
        opened = []
        for _ in range(args.repeat):
            began = time.perf_counter()
            connect(data).close()
            opened.append((time.perf_counter() - began) * 1000)
        entries = ledger.execute("select count(*) from entries").fetchone()[0]  # type: ignore[index]
        parquet = sum(path.stat().st_size for path in (data / "entries").glob("day=*/*.parquet"))
        sums = sum(path.stat().st_size for path in (data / "entries" / "_rollup").glob("*.parquet"))
        print(
            json.dumps(
                {
                    "entries": entries,
                    "files": len(list((data / "entries").glob("day=*/*.parquet"))),
                    "bytes_per_entry": round(parquet / entries, 1),
                    "rollup_bytes_per_entry": round(sums / entries, 1),
                    "connect_ms": round(statistics.median(opened), 1),
                }
            )
        )


if __name__ == "__main__":
    main()
