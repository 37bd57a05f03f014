"""Pricing past calls anew: what would change, and the adjustments that make it so.

The calls stay as they were posted. Where the price now in force says otherwise, an adjustment carries the difference,
so that every sum is right afterwards and what was believed before is a filter on `recorded_at`. Where the state changes
too (`unpriced` to `priced`), two adjustments move the call: one takes it out of the old state with all its measures, the
other puts it into the new one, so that plain sums by `cost_state` (coverage, price ceilings) are right as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa

from spanledger.collector.columns import identity
from spanledger.collector.pricing.queries import frame, rows
from spanledger.ledger.frame import COLUMNS, conform
from spanledger.ledger.schema import MEASURES
from spanledger.prices import Prices
from spanledger.prices.cell import microseconds
from spanledger.prices.claims import MONEY
from spanledger.prices.stated import AMOUNT_COLUMNS, WORD_COLUMNS

#: What an adjustment repeats of the call, so that it falls into the same groups.
_REPEATED = (
    "trace_id", "occurred_at", "day", "tenant", "project", "user", "agent", "session", "environment", "service", "api_key_id",
    "tags", "provider", "requested_model", "model", "operation", "variant", "service_tier", "region", "batch", "outcome",
)  # fmt: skip
#: What moves with a call from one state to another, beside its amounts.
_MOVED = tuple(name for name in MEASURES if name not in AMOUNT_COLUMNS and not name.startswith("claimed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which calls to price anew; None takes all. `unpriced_only` takes those of which all or a part has no price, also where the
    sender's word on the cost stands in."""

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
    """What re-rating a range comes to. `adjustments` are entries, ready to be posted; none in a preview."""

    range: Range
    revision: str
    calls: int
    changed: int
    old_usd: Decimal
    new_usd: Decimal
    lines: tuple[Line, ...]
    adjustments: pa.Table = field(repr=False)

    @property
    def difference_usd(self) -> Decimal:
        return self.new_usd - self.old_usd


def rerate(
    connection: duckdb.DuckDBPyConnection, prices: Prices, over: Range, *, now: datetime, reason: str, post: bool = True,
    reversed_only: bool = False,
) -> Rerating:  # fmt: skip
    """Price the calls of a range by `prices` and find what differs, day by day, so that memory stays bounded by a day and by what
    changes (a call that changes its state takes some 2 kB until it is posted). Without `post` no adjustments are made.

    With `reversed_only` nothing is priced: what is found is the adjustments that calls left behind which were reversed.
    """
    calls, old, new = 0, Decimal(0), Decimal(0)
    lines: list[pl.DataFrame] = []
    adjustments = [conform(pl.DataFrame(schema=COLUMNS))]
    for day in () if reversed_only else _days(connection, over):
        was = frame(
            connection, "to_rerate", day=day, since=over.since, until=over.until, provider=over.provider, model=over.model,
            tenant=over.tenant, unpriced_only=over.unpriced_only,
        )  # fmt: skip
        if not was.height:
            continue
        became = prices.price(was.drop(AMOUNT_COLUMNS, WORD_COLUMNS))
        calls += int(was["calls"].sum())
        old += _sum(was["cost_usd"])
        new += _sum(became["cost_usd"])
        changed = _changed(was, became)
        if changed.height:
            lines.append(_told(changed))
            if post:
                adjustments += map(conform, _adjustments(changed, now, reason))
    orphans = frame(connection, "orphans", since=over.since, until=over.until)
    if orphans.height:
        # The calls are reversed: what is taken back is the adjustments alone.
        old -= _sum(orphans["cost_usd"])
        lines.append(_told_of_orphans(orphans))
        flags = pl.lit([]).cast(pl.List(pl.String)).alias("flags")
        if post:
            adjustments.append(conform(_entries(orphans.with_columns(flags), "rerate", now, f"{reason}, of a reversed call")))
    told = pl.concat(lines) if lines else pl.DataFrame()
    return Rerating(
        range=over, revision=prices.revision, calls=calls, changed=told.height, old_usd=old, new_usd=new,
        lines=_lines(told), adjustments=pa.concat_tables(adjustments),
    )  # fmt: skip


def _days(connection: duckdb.DuckDBPyConnection, over: Range) -> Iterator[date]:
    return (row["day"] for row in rows(connection, "days_with_calls", since=over.since, until=over.until))


def _changed(was: pl.DataFrame, became: pl.DataFrame) -> pl.DataFrame:
    """The calls whose amounts or state differ, or of which no part lacks a price any more, with what they were in `was_…`."""
    both = became.with_columns(was[name].alias(f"was_{name}") for name in (*AMOUNT_COLUMNS, *WORD_COLUMNS))
    different = [pl.col(name).fill_null(0) != pl.col(f"was_{name}").fill_null(0) for name in AMOUNT_COLUMNS]
    whole = pl.col("was_unpriced_reason").is_not_null() & pl.col("unpriced_reason").is_null()
    return both.filter(pl.any_horizontal(different) | _MOVES | whole)


_MOVES = pl.col("was_cost_state").ne_missing(pl.col("cost_state"))


def _adjustments(changed: pl.DataFrame, now: datetime, reason: str) -> list[pl.DataFrame]:
    """Those of calls that keep their state carry differences; the others go in pairs."""
    stays, moves = changed.filter(~_MOVES), changed.filter(_MOVES)
    differences = stays.with_columns(
        *[_difference(name) for name in AMOUNT_COLUMNS],
        *[pl.lit(0 if name == "calls" else None).cast(stays.schema[name]).alias(name) for name in _MOVED],
    )
    out_of = moves.with_columns(
        *[(-pl.col(f"was_{name}")).cast(MONEY).alias(name) for name in AMOUNT_COLUMNS],
        *[(-pl.col(name)).alias(name) for name in _MOVED],
        *[pl.col(f"was_{name}").alias(name) for name in WORD_COLUMNS],
    )
    parts = ((differences, "rerate"), (out_of, "rerate_from"), (moves, "rerate"))
    return [_entries(part, name, now, reason) for part, name in parts if part.height]


def _difference(name: str) -> pl.Expr:
    """By how much an amount has moved; null where it was and is not known."""
    was, now = pl.col(f"was_{name}"), pl.col(name)
    moved = (now.fill_null(0) - was.fill_null(0)).cast(MONEY)
    return pl.when(was.is_null() & now.is_null()).then(None).otherwise(moved).alias(name)


def _entries(rows: pl.DataFrame, rule: str, now: datetime, reason: str) -> pl.DataFrame:
    """Rows with what they add, as entries. Ids follow from the call, the moment and which part of the correction it is: of a
    reversed call there is a row for each state that it had."""
    moment = pl.lit(microseconds(now)) + pl.col("entry_id").cum_count().over("entry_id")
    ids = identity.derived(rows["entry_id"], rule.removeprefix("rerate") or "to", rows.select(moment).to_series())
    return rows.select(
        ids.alias("entry_id"),
        pl.lit("adjustment").alias("kind"),
        pl.lit(reason).alias("reason"),
        pl.lit(rule).alias("rule"),
        pl.col("entry_id").alias("stands_for"),
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
        *_REPEATED,
        *_MOVED,
        *AMOUNT_COLUMNS,
        *WORD_COLUMNS,
        "flags",
    )


def _told(changed: pl.DataFrame) -> pl.DataFrame:
    """What `_lines` sums up of calls that change."""
    return changed.select(
        "provider", pl.coalesce("model", "requested_model").alias("model"), "tenant", "cost_state", "was_cost_state",
        pl.col("was_cost_usd").fill_null(0).alias("was_usd"),
        (pl.col("cost_usd").fill_null(0) - pl.col("was_cost_usd").fill_null(0)).cast(MONEY).alias("difference"),
    )  # fmt: skip


def _told_of_orphans(orphans: pl.DataFrame) -> pl.DataFrame:
    named = pl.coalesce("model", "requested_model").alias("model")
    gone = pl.lit("reversed")
    of_call = orphans.group_by("entry_id", "provider", named, "tenant").agg(pl.col("cost_usd").sum().alias("difference"))
    return of_call.select(
        "provider", "model", "tenant", gone.alias("cost_state"), gone.alias("was_cost_state"),
        (-pl.col("difference")).cast(MONEY).alias("was_usd"), pl.col("difference").cast(MONEY),
    )  # fmt: skip


def _lines(told: pl.DataFrame) -> tuple[Line, ...]:
    if not told.height:
        return ()
    unpriced, was_unpriced = pl.col("cost_state") == "unpriced", pl.col("was_cost_state") == "unpriced"
    grouped = told.group_by("provider", "model", "tenant").agg(
        calls=pl.len(),
        newly_priced=(was_unpriced & ~unpriced).sum(),
        no_longer_priced=(~was_unpriced & unpriced).sum(),
        old_usd=pl.col("was_usd").sum(),
        difference=pl.col("difference").sum(),
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
