"""`spanledger serve` itself, with few limits and with many."""

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import yaml

from bench.limits.client import Asked, asked
from bench.limits.made import LIMITS, MANY, quantiles
from bench.limits.over_http import ROUNDS, Served
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger


def served(seconds: float) -> None:
    """Over a ledger of a million users with 10,000 limits, and over an empty one with three: its memory, and CPU for a check."""
    for name, given, users in (("three limits, empty ledger", LIMITS, 0), ("10,000 limits, a million users", MANY, 1_000_000)):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            if users:
                Ledger.open(data / "entries").post(conform(_calls(users)), None)
            config = Path(folder) / "c.yaml"
            config.write_text(yaml.safe_dump({"extensions": {"limits": given}}))
            words = ["serve", "--announce", "--config", str(config), "--data", str(data)]
            ports = ["--grpc-port", "0", "--http-port", "0", "--api-port", "0"]
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "spanledger.cli", *words, *ports], stdout=subprocess.PIPE, text=True
            )
            try:
                assert process.stdout is not None
                port = int(orjson.loads(process.stdout.readline())["api"].rpartition(":")[2])
                started, resident = time.perf_counter() - began, _megabytes(process.pid, "VmRSS")
                found, alone = _in_turn(port, process.pid, seconds)
                rate, after, peak = found.answers / seconds, _megabytes(process.pid, "VmRSS"), _megabytes(process.pid, "VmHWM")
                print(f"spanledger serve, {name}: up in {started:.1f} s, {resident:,.0f} MB resident, {peak:,.0f} at its peak")
                told = f"{rate:,.0f} checks/s, {quantiles(found.taken)}, {found.cpu:.1f} µs of CPU each"
                print(f"spanledger serve, {name}: {told}; {after:,.0f} MB after {found.answers:,} checks")
                print(f"the bench's own server with three limits, in turn with it: {alone:.1f} µs of CPU each")
            finally:
                process.terminate()
                process.wait()


def _in_turn(port: int, pid: int, seconds: float) -> tuple[Asked, float]:
    """What was asked of `serve`, and the CPU of a check at a server that does nothing else: company disturbs both alike."""
    of_bench, of_serve = Served("check"), []
    beside = []
    for _ in range(ROUNDS):
        beside.append(asked(of_bench.port, of_bench.process.pid, seconds / ROUNDS).cpu)
        of_serve.append(asked(port, pid, seconds / ROUNDS))
    of_bench.stop()
    answers, taken = sum(one.answers for one in of_serve), of_serve[-1].taken
    return Asked(answers, taken, statistics.median(one.cpu for one in of_serve)), statistics.median(beside)


def _calls(users: int) -> pl.DataFrame:
    """One call of each user, now."""
    now = datetime.now(UTC)
    return pl.DataFrame({"number": range(users)}).select(
        entry_id=pl.format("{}", "number").str.zfill(32), kind=pl.lit("call"), occurred_at=pl.lit(now), recorded_at=pl.lit(now),
        day=pl.lit(now.date()), calls=pl.lit(1), user=pl.format("u-{}", "number"),
        input_tokens=pl.lit(10), output_tokens=pl.lit(10),
        cost_usd=pl.lit("0.01").cast(pl.Decimal(20, 12)), cost_state=pl.lit("priced"), outcome=pl.lit("ok"),
    )  # fmt: skip


def _megabytes(pid: int, field: str) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition(f"{field}:")[2].split()[0]) / 1024
