"""What was spent: sums over entries, always with the calls that no price is known for beside them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import duckdb
import pyarrow as pa

from spanledger.analytics.query import run
from spanledger.analytics.selection import Selection, check_dimension

Step = Literal["hour", "day", "week", "month"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over a selection. `cost_usd` is null when there were calls and none of them has a price."""

    calls: int
    unpriced: int
    failed: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: Decimal | None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def coverage(self) -> float | None:
        """The share of calls that is priced, 0 to 1; null without calls."""
        return 1 - self.unpriced / self.calls if self.calls > 0 else None


def totals(connection: duckdb.DuckDBPyConnection, selection: Selection) -> Totals:
    """The sums over a selection."""
    return Totals(**run(connection, "totals", selection.source(), **selection.bound).to_pylist()[0])


def spend_by(connection: duckdb.DuckDBPyConnection, dimension: str, selection: Selection, *, top: int = 50) -> pa.Table:
    """Spend by one dimension, dearest first: `key` (null: not given), `rest`, `keys`, calls, tokens, `cost_usd`.

    Beyond the `top` values, what is left is one last row with `rest` true (or the value itself when it is one), so that
    the rows add up to `totals`.
    Raises `ValueError` for an unknown dimension.
    """
    name = check_dimension(dimension)
    return run(connection, "spend_by", selection.source(name), dimension=name, top=top, **selection.bound)


def spend_over_time(
    connection: duckdb.DuckDBPyConnection,
    selection: Selection,
    *,
    step: Step = "day",
    dimension: str | None = None,
    top: int = 50,
) -> pa.Table:
    """Spend by step of time and, if asked, by the `top` dearest values of one dimension: `since`, `key`, `rest`, sums.

    Steps without entries have no row. Raises `ValueError` for an unknown dimension.
    """
    name = None if dimension is None else check_dimension(dimension)
    source = selection.source(name)
    return run(connection, "spend_over_time", source, step=step, dimension=name, top=top, **selection.bound)
