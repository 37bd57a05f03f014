"""Ten million entries of ninety days as an organisation would have them, made by columns: 1,000 tenants, 20,000 users, 40 models.

Tenants are of very different sizes (the share of the n-th is 1/n), each uses four of the models, and calls follow the
working day. Ids are random, as real ones are: they are what most of the bytes on disk go to.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.ledger.frame import conform

TENANTS, USERS, MODELS = 1_000, 20_000, 40
PROVIDERS = ("openai", "anthropic", "gcp.gemini", "aws.bedrock", "mistral_ai")
_HOURS = np.array([1, 1, 1, 1, 1, 2, 3, 5, 8, 10, 10, 9, 8, 9, 10, 10, 9, 8, 6, 5, 4, 3, 2, 1], dtype=float)


def days(entries: int, until: date, count: int) -> Iterator[pa.Table]:
    """A table of entries for each of `count` days that end with `until`, oldest first, in the order in which they were made."""
    for ago in reversed(range(count)):
        day = until - timedelta(days=ago)
        yield made(day, entries // count, np.random.default_rng(day.toordinal()))


def made(day: date, count: int, chance: np.random.Generator) -> pa.Table:
    """The entries of one day."""
    share = 1 / np.arange(1, TENANTS + 1)
    tenant = chance.choice(TENANTS, count, p=share / share.sum())
    user = tenant * (USERS // TENANTS) + chance.integers(0, USERS // TENANTS, count)
    # The first of a tenant's four models has half of its calls.
    model = (tenant * 7 + np.array([0, 11, 17, 29])[chance.choice(4, count, p=[0.5, 0.25, 0.15, 0.1])]) % MODELS
    hour = chance.choice(24, count, p=_HOURS / _HOURS.sum())
    at = np.sort(hour * 3_600_000_000 + chance.integers(0, 3_600_000_000, count))
    began = int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000 + at
    fresh, output = chance.lognormal(7, 1.2, count).astype(np.int64), chance.lognormal(5.3, 1, count).astype(np.int64)
    cached = np.where(chance.random(count) < 0.4, fresh // 2, 0)
    seconds = np.round(output / chance.uniform(30, 120, count) + 0.3, 6)
    failed = chance.random(count) < 0.01
    in_rate, out_rate = 50 + (model % 8) * 125, 400 + (model % 8) * 700  # thousandths of a dollar a million
    input_cost, output_cost = (fresh - cached) * in_rate * 1000, output * out_rate * 1000  # 10^-12 dollars
    cache_cost = cached * in_rate * 100
    cost = _money(input_cost + output_cost + cache_cost)
    frame = pl.DataFrame(
        {
            "entry_id": _hex(chance, count, 16), "trace_id": _hex(chance, count, 16), "span_id": _hex(chance, count, 8),
            "occurred_at": pl.Series(began).cast(pl.Datetime("us", "UTC")),
            "recorded_at": pl.Series(began // 1_000_000 * 1_000_000 + 30_000_000).cast(pl.Datetime("us", "UTC")),
            "duration_seconds": seconds, "tenant": _named("tenant-", tenant, 4), "project": _named("project-", tenant % 50, 2),
            "user": _named("user-", user, 5), "model": _named("model-", model, 2), "requested_model": _named("model-", model, 2),
            "provider": pl.Series(PROVIDERS)[model % len(PROVIDERS)],
            "input_tokens": fresh, "cache_read_tokens": cached, "output_tokens": output,
            "cost_usd": cost, "list_cost_usd": cost, "input_cost_usd": _money(input_cost),
            "output_cost_usd": _money(output_cost), "cache_read_cost_usd": _money(cache_cost),
            "outcome": pl.Series(["ok", "error"])[failed.astype(int)],
            "error_type": pl.Series([None, "429"], dtype=pl.String)[failed.astype(int)],
        }
    ).with_columns(
        pl.lit(day).alias("day"), pl.lit("call").alias("kind"), pl.lit(1, pl.Int64).alias("calls"),
        pl.lit("priced").alias("cost_state"),
        pl.lit("traces").alias("signal"), pl.lit("opentelemetry").alias("dialect"), pl.lit("call").alias("granularity"),
        pl.lit("production").alias("environment"),
        pl.concat_str(pl.lit("service-"), pl.col("tenant").str.slice(7, 2)).alias("service"),
        pl.lit("chat").alias("operation"), pl.lit("genai-prices 0.2.3 1f0c").alias("price_revision"),
        pl.concat_str("provider", pl.lit("/"), "model").alias("priced_as"), pl.lit("exact").alias("price_match"),
    )  # fmt: skip
    return conform(frame)


def _hex(chance: np.random.Generator, count: int, size: int) -> pl.Series:
    raw = pa.Array.from_buffers(pa.binary(size), count, [None, pa.py_buffer(chance.bytes(count * size))])
    return pl.Series(pl.from_arrow(raw.cast(pa.binary()))).bin.encode("hex")


def _named(prefix: str, number: "np.typing.NDArray[np.int64]", digits: int) -> pl.Series:
    names = pl.Series([f"{prefix}{n:0{digits}}" for n in range(int(number.max()) + 1)])
    return names[number]


def _money(units: "np.typing.NDArray[np.int64]") -> pl.Series:
    """Of 10^-12 dollars."""
    return (pl.Series(units).cast(pl.Decimal(38, 0)) * pl.Series(["0.000000000001"]).cast(pl.Decimal(38, 12))).cast(
        pl.Decimal(20, 12)
    )
