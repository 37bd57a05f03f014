"""The collector over minutes at a steady rate: memory, journal, files, and how soon a call is visible to SQL.

    .venv/bin/python -m bench.steady [--rate 5000] [--minutes 10] [--every 30]

`spanledger serve` runs as it is installed. One sender sends batches of 512 spans about models at the rate; beside it, twice a
second, one call alone is sent and looked for through `connect` and `refresh`, from its acknowledgement until it is found.
Prints a line of JSON every so many seconds, and one at the end with quantiles over the whole run.
"""

import argparse
import http.client
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.ingest import BATCH, Template
from spanledger.ledger.connect import connect, refresh
from tests.collector.made import calls


def post(address: str) -> Any:
    """A function that sends a body to a collector and returns when it is acknowledged."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)

    def send(body: bytes) -> None:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status

    return send


def flow(address: str, rate: float, stopped: threading.Event, waits: list[float]) -> None:
    """Send at a rate until stopped; notes how long each acknowledgement took."""
    template, send = Template(content=0, model_share=1.0, sender=0), post(address)
    due = time.perf_counter()
    while not stopped.wait(max(0.0, due - time.perf_counter())):
        body, began = template.body(), time.perf_counter()
        send(body)
        waits.append(time.perf_counter() - began)
        due = max(due + BATCH / rate, time.perf_counter() - 5)


def probe(address: str, data: Path, stopped: threading.Event, seen: list[float]) -> None:
    """Twice a second, send one call and note how long after its acknowledgement SQL finds it."""
    send, connection = post(address), connect(data)
    while not stopped.wait(0.5):
        body, [span_id] = calls(1)
        send(body)
        acknowledged = time.perf_counter()
        since = datetime.now(UTC).date()
        while True:
            refresh(connection)
            found = connection.execute(
                "select count(*) from entries where span_id = $id and service is null and day >= $day - 1",
                {"id": span_id, "day": since},
            ).fetchone()
            if found != (0,):
                break
            assert time.perf_counter() - acknowledged < 60, "a call is not visible after a minute"
            time.sleep(0.02)
        seen.append(time.perf_counter() - acknowledged)


def state(pid: int, data: Path) -> dict[str, Any]:
    """What the collector takes now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    with closing(sqlite3.connect(f"file:{data / 'journal.sqlite'}?mode=ro", uri=True, timeout=10)) as journal:
        bodies = journal.execute("select count(*) from bodies").fetchone()[0]
    return {
        "resident_mib": int(status["VmRSS"].split()[0]) // 1024,
        "peak_mib": int(status["VmHWM"].split()[0]) // 1024,
        "journal_bodies": bodies,
        "files": len(list((data / "entries").glob("day=*/*.parquet"))),
        "cpu_seconds": round(sum(map(int, Path(f"/proc/{pid}/stat").read_text().split()[13:15])) / os.sysconf("SC_CLK_TCK"), 1),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5_000, help="spans a second")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=30, help="seconds between two lines")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        ports = ["--grpc-port", "0", "--http-port", "0", "--api-port", "0"]
        command = [sys.executable, "-m", "spanledger.cli", "serve", "--announce", "--data", str(data), *ports]
        collector = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert collector.stdout is not None
        address = json.loads(collector.stdout.readline())["http"]
        stopped = threading.Event()
        waits: list[float] = []
        seen: list[float] = []
        senders = [
            threading.Thread(target=flow, args=(address, args.rate, stopped, waits), daemon=True),
            threading.Thread(target=probe, args=(address, data, stopped, seen), daemon=True),
        ]
        for sender in senders:
            sender.start()
        began, lines = time.perf_counter(), []
        while time.perf_counter() - began < args.minutes * 60 and all(sender.is_alive() for sender in senders):
            time.sleep(args.every)
            passed = time.perf_counter() - began
            rate = round(len(waits) * BATCH / passed)
            lines.append({"seconds": round(passed), "acknowledged_per_second": rate, **state(collector.pid, data)})
            print(json.dumps(lines[-1]), flush=True)
        alive = all(sender.is_alive() for sender in senders)
        stopped.set()
        for sender in senders:
            sender.join(60)
        collector.send_signal(signal.SIGTERM)
        code = collector.wait(60)
        waits.sort()
        seen.sort()
        print(
            json.dumps(
                {
                    "exit_code": code,
                    "complete": alive,
                    "spans": len(waits) * BATCH,
                    "ack_p50_ms": round(statistics.median(waits) * 1000, 1),
                    "ack_p99_ms": round(waits[int(len(waits) * 0.99)] * 1000, 1),
                    "visible_p50_s": round(statistics.median(seen), 2),
                    "visible_p99_s": round(seen[int(len(seen) * 0.99)], 2),
                    "visible_max_s": round(seen[-1], 2),
                    "resident_mib_half_way": lines[len(lines) // 2]["resident_mib"],
                    "resident_mib_at_the_end": lines[-1]["resident_mib"],
                }
            )
        )


if __name__ == "__main__":
    main()
