"""What the demo expects to find in the ledger, and what is there.

The expected cost comes straight from `genai-prices`, call by call: not from the compiled cells that price the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

import duckdb
from genai_prices import Usage, calc_price

#: OpenTelemetry's name of a provider → the price book's.
_IN_THE_BOOK: Mapping[str, str] = {"gcp.gemini": "google", "mistral_ai": "mistral", "x_ai": "x-ai"}


@dataclass(kw_only=True)
class Totals:
    """Sums over the demo's own calls; `cost_usd` leaves out those that no price is known for."""

    calls: int = 0
    failed: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def add(self, other: "Totals") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def expected(
    *,
    provider: str,
    model: str,
    at: datetime,
    failed: bool = False,
    input_tokens: int = 0,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    output_tokens: int = 0,
    reasoning_tokens: int = 0,
) -> Totals:
    """What one call must add. Cache writes are the five-minute kind."""
    usage = Usage(
        input_tokens=input_tokens,
        cache_read_tokens=cache_read_tokens or None,
        cache_write_tokens=cache_write_tokens or None,
        output_tokens=output_tokens,
    )
    unpriced = False
    try:
        price = calc_price(usage, model, provider_id=_IN_THE_BOOK.get(provider, provider), genai_request_timestamp=at).total_price
    except LookupError:
        # A refused call used nothing, and nothing costs nothing at any price.
        price, unpriced = Decimal(0), not failed
    return Totals(
        calls=1,
        failed=int(failed),
        unpriced=int(unpriced),
        input_tokens=input_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=cache_write_tokens,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning_tokens,
        cost_usd=price,
    )


_FOUND = """
select
    coalesce(sum(calls), 0)                                          as calls,
    coalesce(sum(calls) filter (where outcome = 'error'), 0)         as failed,
    coalesce(sum(calls) filter (where cost_state = 'unpriced'), 0)   as unpriced,
    coalesce(sum(input_tokens), 0)                                   as input_tokens,
    coalesce(sum(cache_read_tokens), 0)                              as cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0)                             as cache_write_tokens,
    coalesce(sum(output_tokens), 0)                                  as output_tokens,
    coalesce(sum(reasoning_tokens), 0)                               as reasoning_tokens,
    coalesce(sum(cost_usd), 0)                                       as cost_usd
from entries
where tags['demo'] = $run
"""


def found(connection: duckdb.DuckDBPyConnection, run: str) -> Totals:
    """What the ledger has of the demo's run, as of the connection's snapshot."""
    row = connection.execute(_FOUND, {"run": run}).fetchone()
    assert row is not None  # noqa: S101  # an aggregate without groups has one row
    return Totals(**dict(zip((field.name for field in fields(Totals)), row, strict=True)))
