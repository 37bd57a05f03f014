""" "My last thirty days on another model instead": one's own calls at another model's prices."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import duckdb
import polars as pl

from spanledger.collector.pricing.queries import frame
from spanledger.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """What the calls cost at list price (under contract where no list has the model), and what they would cost on another model:
    both over the same calls, those that are priced on either side and fit into the other's context window."""

    provider: str
    model: str
    calls: int
    does_not_fit: int
    unpriced: int
    was_usd: Decimal
    would_be_usd: Decimal
    input_tokens: int
    output_tokens: int

    @property
    def difference_usd(self) -> Decimal:
        return self.would_be_usd - self.was_usd


def traffic(
    connection: duckdb.DuckDBPyConnection, since: datetime, until: datetime, *,
    provider: str | None = None, model: str | None = None, tenant: str | None = None,
) -> pl.DataFrame:  # fmt: skip
    """One's own calls in a range, embeddings left out, as `instead` takes them."""
    return frame(connection, "traffic", since=since, until=until, provider=provider, model=model, tenant=tenant)


def instead(prices: Prices, calls: pl.DataFrame, provider: str, model: str) -> Instead:
    """The calls on another model: same tokens (tokenisers differ by some ten per cent), same sizes and times; cached
    tokens at the other's cache prices, or at its full price where it has none."""
    window = prices.context_window(provider, model)
    fits = pl.lit(True) if window is None else pl.col("input_tokens") <= window
    fitting = calls.filter(fits & (pl.col("outcome") == "ok"))
    other = prices.price(
        fitting.drop("cost_usd", "list_cost_usd").with_columns(
            provider=pl.lit(provider), model=pl.lit(model), service_tier=pl.lit(None, pl.String), batch=pl.lit(False)
        )
    )
    both = pl.DataFrame(
        [_listed(fitting).alias("was"), _listed(other).alias("new"), fitting["input_tokens"],
         fitting["output_tokens"], fitting["calls"]]
    )  # fmt: skip
    priced = both.drop_nulls(["was", "new"])
    return Instead(
        provider=provider, model=model, calls=int(priced["calls"].sum()),
        does_not_fit=int(calls.filter(~fits)["calls"].sum()) if window is not None else 0,
        unpriced=both.height - priced.height,
        was_usd=_sum(priced["was"]), would_be_usd=_sum(priced["new"]),
        input_tokens=int(priced["input_tokens"].sum()), output_tokens=int(priced["output_tokens"].fill_null(0).sum()),
    )  # fmt: skip


def _listed(calls: pl.DataFrame) -> pl.Series:
    """What calls cost at list price; under contract where no list has the model."""
    return calls.select(pl.coalesce("list_cost_usd", "cost_usd")).to_series()


def _sum(amounts: pl.Series) -> Decimal:
    total = amounts.cast(pl.Decimal(38, 12)).sum()
    return total if isinstance(total, Decimal) else Decimal(0)
