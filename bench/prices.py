"""Prices: 100,000 calls over every model of the book, a recompile, and single quotes; on one core."""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import random
import time
from datetime import UTC, datetime, timedelta

import polars as pl

from spanledger.prices import Prices
from spanledger.prices.books.snapshot import Snapshot
from spanledger.prices.rule_form import rule_of


def calls(snapshot: Snapshot, count: int, seed: int = 7) -> pl.DataFrame:
    """Entries without money: every model of the book, three years, all tiers, long and short."""
    chance = random.Random(seed)
    models = snapshot.listed()
    picked = [models[chance.randrange(len(models))] for _ in range(count)]
    start = datetime(2024, 6, 1, tzinfo=UTC)
    inputs = [int(chance.lognormvariate(7, 2)) for _ in range(count)]
    cached = [n * chance.randrange(10) // 10 for n in inputs]
    written = [(n - c) * chance.randrange(10) // 10 for n, c in zip(inputs, cached, strict=True)]
    return pl.DataFrame(
        {
            "provider": [p for p, _ in picked],
            "model": [m for _, m in picked],
            "service_tier": [chance.choice([None, None, "default", "flex", "priority"]) for _ in range(count)],
            "occurred_at": [start + timedelta(seconds=chance.randrange(80_000_000)) for _ in range(count)],
            "input_tokens": inputs,
            "cache_read_tokens": cached,
            "cache_write_tokens": written,
            "cache_write_1h_tokens": [n * chance.randrange(10) // 10 for n in written],
            "output_tokens": [int(chance.lognormvariate(5, 1)) for _ in range(count)],
        }
    )


def main() -> None:
    started = time.perf_counter()
    prices = Prices()
    print(f"compile the book            {1000 * (time.perf_counter() - started):9.1f} ms")
    batch = calls(Snapshot(), 100_000)
    started = time.perf_counter()
    prices.price(batch)
    print(f"first batch, names unmet    {1000 * (time.perf_counter() - started):9.1f} ms")
    took, worked = [], []
    for _ in range(7):
        started, used = time.perf_counter(), time.process_time()
        prices.price(batch)
        took.append(time.perf_counter() - started)
        worked.append(time.process_time() - used)
    print(f"100,000 calls, all models   {1000 * min(took):9.1f} ms (CPU {1000 * min(worked):.1f})")
    rule = rule_of({"provider": "openai", "multiplier": "0.9"}, "bench")
    started, used = time.perf_counter(), time.process_time()
    prices.use(rules=[rule])
    took_ms, cpu_ms = 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - used)
    print(f"recompile, all names met    {took_ms:9.1f} ms (CPU {cpu_ms:.1f})")
    at = datetime.now(UTC)
    started = time.perf_counter()
    for _ in range(100):
        prices.cost_of("openai", "gpt-4o", at, 1_000, 100)
    print(f"a quote                     {1e3 * (time.perf_counter() - started) / 100:9.1f} ms")


if __name__ == "__main__":
    main()
