"""Entries, summed up to what counters need: per subject and moment, how many calls, tokens and dollars.

The same sums come from a batch of entries (`of_entries`) and from the ledger's history (`of_history`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from msgspec import Struct

from spanledger.limits.limit import Limit, units_of
from spanledger.limits.selector import DIMENSIONS
from spanledger.limits.window import SECOND, Rolling, Window

HISTORY = (Path(__file__).parent / "sql" / "history.sql").read_text()


class Tally(Struct, frozen=True, gc=False):
    """Sums over entries of one subject at one moment (microseconds since 1970, rounded down to a slot)."""

    subject: Mapping[str, str | None]
    at: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost: int  # 10⁻¹² USD
    unpriced_tokens: int
    entry_id: str | None = None
    hold_id: str | None = None

    def amount(self, limit: Limit) -> int:
        """What this adds to a limit, in its units."""
        match limit.measure:
            case "requests":
                return self.calls
            case "input_tokens":
                return self.input_tokens
            case "output_tokens":
                return self.output_tokens
            case "tokens":
                return self.input_tokens + self.output_tokens
            case "cost_usd":
                if limit.ceiling_usd_per_mtok is None or limit.unpriced != "ceiling" or not self.unpriced_tokens:
                    return self.cost
                return self.cost + ceiling_of(limit, self.unpriced_tokens)


def ceiling_of(limit: Limit, tokens: int) -> int:
    """What tokens without a price count under a limit with a price ceiling, in units."""
    return units_of("cost_usd", (limit.ceiling_usd_per_mtok or Decimal(0)) * tokens / 1_000_000)


@dataclass(frozen=True, slots=True)
class Shape:
    """What limits must have in common to be counted by one pass: the dimensions they look at."""

    dimensions: frozenset[str]

    @property
    def columns(self) -> list[str]:
        return [name for name in DIMENSIONS if name in self.dimensions]

    @property
    def tags(self) -> list[str]:
        return sorted(name[4:] for name in self.dimensions if name.startswith("tag."))


def of_entries(entries: pl.DataFrame, shape: Shape, limits: Sequence[Limit], *, each: bool = False) -> Iterator[Tally]:
    """The tallies of a batch, for limits of this shape: summed up, or for `each` entry with its id and hold.

    `entries` has the columns of the ledger.
    """
    if not limits or not entries.height:
        return
    # Windows of the calendar begin at whole minutes; slots of rolling ones are whole seconds.
    step = SECOND if any(isinstance(limit.window, Rolling) for limit in limits) else 60 * SECOND
    ids = ["entry_id", "hold_id"] if each else []
    keys = [_dimension(entries, name).alias(name) for name in shape.columns]
    keys += [_tag(entries, tag).alias(f"tag.{tag}") for tag in shape.tags]
    keys += [_text(entries, name).alias(name) for name in ids]
    tokens = _column(entries, "input_tokens").fill_null(0) + _column(entries, "output_tokens").fill_null(0)
    cost = _column(entries, "cost_usd")
    sums = entries.select(
        *keys,
        (pl.col("occurred_at").dt.epoch("us") // step * step).alias("at"),
        pl.col("calls"),
        _column(entries, "input_tokens").fill_null(0).alias("input_tokens"),
        _column(entries, "output_tokens").fill_null(0).alias("output_tokens"),
        cost.cast(pl.Decimal(38, 12)).alias("cost_usd"),
        pl.when(cost.is_null()).then(tokens).otherwise(0).alias("unpriced_tokens"),
    )
    names = [*shape.columns, *(f"tag.{tag}" for tag in shape.tags)]
    measures = pl.col("calls", "input_tokens", "output_tokens", "cost_usd", "unpriced_tokens")
    for row in sums.group_by(*names, *ids, "at").agg(measures.sum()).iter_rows():
        *of, at, calls, input_tokens, output_tokens, usd, unpriced = row[len(names) :]
        subject = dict(zip(names, row, strict=False))
        yield Tally(subject, at, calls, input_tokens, output_tokens, _units(usd), unpriced, *of)


def of_history(
    connection: duckdb.DuckDBPyConnection, shape: Shape, window: Window, now: int, *, used_since: int | None = None
) -> Iterator[Tally]:
    """The tallies of all that counts in `window` at `now`, from the ledger, and of what lies after it.

    With `used_since`, only those of subjects that had a call since then.
    """
    since, until = window.span(now)
    wanted: dict[str, Any] = {name: name in shape.dimensions for name in DIMENSIONS}
    width = window.slot_us if isinstance(window, Rolling) else 0
    wanted |= {"tags": shape.tags, "since": since, "until": until, "width": width, "used_since": used_since}
    rows = connection.execute(HISTORY, wanted)
    places = [(place, name) for place, name in enumerate(DIMENSIONS) if name in shape.dimensions]
    while batch := rows.fetchmany(10_000):
        for row in batch:
            tags, at, calls, input_tokens, output_tokens, usd, unpriced = row[len(DIMENSIONS) :]
            subject: dict[str, str | None] = {name: row[place] for place, name in places}
            for pair in tags or ():
                subject[f"tag.{pair['key']}"] = pair["value"]
            yield Tally(subject, at, calls, input_tokens, output_tokens, _units(usd), unpriced)


def _units(usd: Decimal | None) -> int:
    return 0 if usd is None else int(usd.scaleb(12))


def _column(entries: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in entries.columns else pl.lit(None, pl.Int64())


def _dimension(entries: pl.DataFrame, name: str) -> pl.Expr:
    if name == "trace":
        return _text(entries, "trace_id")
    if name == "model":
        return pl.coalesce(_text(entries, "requested_model"), _text(entries, "model"))
    return _text(entries, name)


def _text(entries: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in entries.columns else pl.lit(None, pl.String())


def _tag(entries: pl.DataFrame, tag: str) -> pl.Expr:
    if "tags" not in entries.columns:
        return pl.lit(None, pl.String())
    pairs = pl.col("tags")
    of_this = pairs.list.eval(pl.element().filter(pl.element().struct.field("key") == tag).struct.field("value"))
    return of_this.list.first()
