"""Pricing past calls anew: what would change, and the adjustments that make it so.

The calls stay as they were posted. Where the price now in force says otherwise, an adjustment carries the difference,
so that every sum is right afterwards and what was believed before is a filter on `recorded_at`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

import duckdb
import polars as pl

from spanledger.collector.pricing.queries import frame, rows
from spanledger.prices import Prices
from spanledger.prices.stated import AMOUNT_COLUMNS, MONEY, WORD_COLUMNS

#: What an adjustment repeats of the call, so that it falls into the same groups.
_REPEATED = (
    "occurred_at", "day", "tenant", "project", "user", "agent", "session", "environment", "service", "api_key_id", "tags",
    "provider", "requested_model", "model", "operation", "service_tier", "region", "batch", "outcome",
)  # fmt: skip
_COMPARED = (*AMOUNT_COLUMNS, "cost_state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which calls to price anew; None takes all."""

    since: datetime
    until: datetime
    provider: str | None = None
    model: str | None = None
    tenant: str | None = None
    unpriced_only: bool = False

    def __post_init__(self) -> None:
        if self.until <= self.since:
            raise ValueError("until: is not after since")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What changes for one model and tenant."""

    provider: str | None
    model: str | None
    tenant: str | None
    calls: int
    newly_priced: int
    no_longer_priced: int
    old_usd: Decimal
    new_usd: Decimal

    @property
    def difference_usd(self) -> Decimal:
        return self.new_usd - self.old_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerating:
    """What re-rating a range comes to. `adjustments` are entries, ready to be posted; none when nothing changes."""

    range: Range
    revision: str
    calls: int
    changed: int
    old_usd: Decimal
    new_usd: Decimal
    lines: tuple[Line, ...]
    adjustments: pl.DataFrame = field(repr=False)

    @property
    def difference_usd(self) -> Decimal:
        return self.new_usd - self.old_usd


def rerate(connection: duckdb.DuckDBPyConnection, prices: Prices, over: Range, *, now: datetime, reason: str) -> Rerating:
    """Price the calls of a range by `prices` and find what differs, day by day, so that memory stays bounded."""
    calls, old, new, adjustments = 0, Decimal(0), Decimal(0), []
    for day in _days(connection, over):
        was = frame(
            connection, "to_rerate", day=day, since=over.since, until=over.until, provider=over.provider, model=over.model,
            tenant=over.tenant, unpriced_only=over.unpriced_only,
        )  # fmt: skip
        if not was.height:
            continue
        became = prices.price(was.drop(AMOUNT_COLUMNS, "cost_state"))
        calls += int(was["calls"].sum())
        old += _sum(was["cost_usd"])
        new += _sum(became["cost_usd"])
        changed = _changed(was, became)
        if changed.height:
            adjustments.append(_adjustments(changed, now, reason))
    orphans = frame(connection, "orphans", since=over.since, until=over.until)
    if orphans.height:
        # The calls are reversed: what is taken back is the adjustments alone.
        old += _sum(orphans["was_usd"])
        words = [pl.lit(None, pl.String).alias(name) for name in WORD_COLUMNS if name != "cost_state"]
        flags = pl.lit(None).cast(pl.List(pl.String)).alias("flags")
        adjustments.append(_adjustments(orphans.with_columns(*words, flags), now, f"{reason}, of a reversed call"))
    posted = pl.concat(adjustments) if adjustments else pl.DataFrame()
    return Rerating(
        range=over, revision=prices.revision, calls=calls, changed=posted.height, old_usd=old, new_usd=new,
        lines=_lines(posted), adjustments=posted.drop("was_state", "was_usd", strict=False),
    )  # fmt: skip


def _days(connection: duckdb.DuckDBPyConnection, over: Range) -> Iterator[date]:
    return (row["day"] for row in rows(connection, "days_with_calls", since=over.since, until=over.until))


def _changed(was: pl.DataFrame, became: pl.DataFrame) -> pl.DataFrame:
    """The calls whose amounts or state differ, with the differences."""
    both = became.with_columns(
        *[(pl.col(name).fill_null(0) - was[name].fill_null(0)).cast(MONEY).alias(name) for name in AMOUNT_COLUMNS],
        was["cost_state"].alias("was_state"),
        was["cost_usd"].alias("was_usd"),
    )
    different = pl.any_horizontal([pl.col(name) != 0 for name in AMOUNT_COLUMNS])
    return both.filter(different | pl.col("was_state").ne_missing(pl.col("cost_state")))


def _adjustments(changed: pl.DataFrame, now: datetime, reason: str) -> pl.DataFrame:
    ids = [
        hashlib.blake2b(f"rerate {call} {now.timestamp()}".encode(), digest_size=16).hexdigest() for call in changed["entry_id"]
    ]
    return changed.select(
        pl.Series("entry_id", ids),
        pl.lit("adjustment").alias("kind"),
        pl.lit(reason).alias("reason"),
        pl.lit("rerate").alias("rule"),
        pl.col("entry_id").alias("stands_for"),
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
        pl.lit(0, pl.Int64).alias("calls"),
        *_REPEATED,
        *AMOUNT_COLUMNS,
        *WORD_COLUMNS,
        "flags",
        "was_state",
        "was_usd",
    )


def _lines(posted: pl.DataFrame) -> tuple[Line, ...]:
    if not posted.height:
        return ()
    unpriced, was_unpriced = pl.col("cost_state") == "unpriced", pl.col("was_state") == "unpriced"
    grouped = posted.group_by("provider", pl.coalesce("model", "requested_model").alias("model"), "tenant").agg(
        calls=pl.len(),
        newly_priced=(was_unpriced & ~unpriced).sum(),
        no_longer_priced=(~was_unpriced & unpriced).sum(),
        old_usd=pl.col("was_usd").fill_null(0).sum(),
        difference=pl.col("cost_usd").sum(),
    )
    lines = [
        Line(
            provider=row["provider"], model=row["model"], tenant=row["tenant"], calls=row["calls"],
            newly_priced=row["newly_priced"], no_longer_priced=row["no_longer_priced"], old_usd=row["old_usd"],
            new_usd=row["old_usd"] + row["difference"],
        )
        for row in grouped.iter_rows(named=True)
    ]  # fmt: skip
    return tuple(
        sorted(lines, key=lambda line: (-abs(line.difference_usd), str(line.provider), str(line.model), str(line.tenant)))
    )


def _sum(amounts: pl.Series) -> Decimal:
    # A sum of decimals keeps their precision, which a large ledger outgrows.
    total = amounts.cast(pl.Decimal(38, 12)).sum()
    return total if isinstance(total, Decimal) else Decimal(0)
