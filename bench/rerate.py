"""Re-rating a million calls: the preview, and the adjustments in one commit. Run as `python -m bench.rerate`."""

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from bench.prices import calls
from spanledger.collector.pricing import PriceDesk, open_prices
from spanledger.collector.pricing.rerate import Range
from spanledger.control import Control
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from spanledger.prices.books.snapshot import Snapshot

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def entries(count: int) -> pl.DataFrame:
    """Calls of thirty days over every model of the book."""
    frame = calls(Snapshot(), count)
    number = pl.int_range(pl.len())
    return frame.with_columns(
        occurred_at=pl.lit(datetime(2026, 10, 20, tzinfo=UTC)) + pl.duration(seconds=number * (30 * 86_400) // count),
        entry_id=number.cast(pl.String).str.pad_start(32, "0"),
        kind=pl.lit("call"),
        calls=pl.lit(1, pl.Int64),
        outcome=pl.lit("ok"),
        recorded_at=pl.lit(NOW),
        tenant=pl.concat_str(pl.lit("tenant-"), (number % 50).cast(pl.String)),
        service_tier=pl.lit(None, pl.String),
    ).with_columns(day=pl.col("occurred_at").dt.date())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--unpriced", action="store_true", help="no call has a price, and then each gets one")
    asked = parser.parse_args()
    count = asked.calls
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        control = Control.open(data / "control.sqlite")
        ledger = Ledger.open(data / "entries")
        prices = open_prices(control, data)
        frame = entries(count)
        if asked.unpriced:
            frame = frame.with_columns(provider=pl.lit("house"))
        for start in range(0, count, 100_000):
            ledger.post(conform(prices.price(frame[start : start + 100_000])), None)
        desk = PriceDesk(control, data, prices, read=lambda: connect(data), post=lambda table: ledger.post(table, None))
        price = {"provider": "house", "rates": {"input_mtok": "0.25", "output_mtok": "1.25"}}
        desk.make([price if asked.unpriced else {"provider": "openai", "multiplier": "0.88"}], who="bench")
        over = Range(since=datetime(2026, 10, 1, tzinfo=UTC), until=datetime(2026, 12, 1, tzinfo=UTC))
        for what, post in (("preview", False), ("posted", True), ("again", True)):
            started, used = time.perf_counter(), time.process_time()
            found = desk.rerate(over, who="bench", note="bench", post=post)
            took = f"{time.perf_counter() - started:6.2f} s (CPU {time.process_time() - used:.2f})"
            print(f"{what:8} {found.calls:>9} calls, {found.changed:>7} change, {found.difference_usd:>22} USD {took}")
        control.close()


if __name__ == "__main__":
    main()
