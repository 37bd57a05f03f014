"""What each step of the loop costs, without sockets and senders: CPU microseconds a span, by step.

.venv/bin/python bench/steps.py [--batches 12] [--content 4096] [--model-share 0.01]
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).parent))

from ingest import BATCH, Template  # type: ignore[import-not-found]

from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.older import LedgerEvidence
from spanledger.collector.decode.decode import decode
from spanledger.collector.decode.wellformed import check
from spanledger.collector.received import Received
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from spanledger.prices import Prices

#: Requests of 512 spans in a batch of the loop: 16 MiB of bodies.
REQUESTS = 40
#: Batches before memory of evidence is full and lets go of some; they are not measured.
WARM = 5


def main() -> None:
    """Print one line of JSON: CPU and wall microseconds a span for each step, over all batches after memory is full."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--content", type=int, default=0)
    parser.add_argument("--model-share", type=float, default=1.0)
    args = parser.parse_args()
    template = Template(content=args.content, model_share=args.model_share, sender=0)
    cpu: dict[str, float] = {}
    wall: dict[str, float] = {}
    prices = Prices()
    spans = entries_made = 0
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "entries")
        counter = CountOnce(Counting(), folder=Path(folder) / "evidence", mark=0, older=LedgerEvidence(ledger.table.table_uri))
        for batch in range(args.batches):
            bodies = [
                Received(
                    sequence=batch * REQUESTS + number + 1, received_at=datetime.now(UTC), signal="traces", encoding="protobuf",
                    compression="identity", body=template.body(),
                )
                for number in range(REQUESTS)
            ]  # fmt: skip
            mark = bodies[-1].sequence
            if batch == WARM:
                cpu.clear()
                wall.clear()
                spans = entries_made = 0
            clock = _Clock(cpu, wall)
            for body in bodies:
                check("traces", "protobuf", body.body)
            clock.lap("check")
            telemetry = decode(bodies)
            clock.lap("decode")
            evidence = recognise(telemetry, Attribution())
            clock.lap("recognise")
            spans += REQUESTS * BATCH
            if evidence.is_empty():
                continue
            counted: pl.DataFrame = counter.count(evidence, now=datetime.now(UTC), mark=mark)
            clock.lap("count once")
            entries = prices.price(counted)
            clock.lap("price")
            table = conform(entries)
            clock.lap("conform")
            ledger.post(table, mark)
            clock.lap("post")
            counter.posted(mark, entries)
            clock.lap("posted")
            entries_made += len(table)
    print(
        json.dumps(
            {
                "spans": spans,
                "entries": entries_made,
                "cpu_us_per_span": {step: round(1e6 * seconds / spans, 2) for step, seconds in cpu.items()},
                "wall_us_per_span": {step: round(1e6 * seconds / spans, 2) for step, seconds in wall.items()},
                "cpu_us_per_span_in_all": round(1e6 * sum(cpu.values()) / spans, 1),
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


class _Clock:
    def __init__(self, cpu: dict[str, float], wall: dict[str, float]) -> None:
        self._cpu, self._wall = cpu, wall
        self._last = time.process_time(), time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.process_time(), time.perf_counter()
        self._cpu[step] = self._cpu.get(step, 0.0) + now[0] - self._last[0]
        self._wall[step] = self._wall.get(step, 0.0) + now[1] - self._last[1]
        self._last = now


if __name__ == "__main__":
    main()
