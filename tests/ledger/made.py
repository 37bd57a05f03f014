"""Entries for tests: everything required is filled in, the rest is what the test says."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from spanledger.ledger.frame import conform

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


def entry(entry_id: str, **columns: Any) -> dict[str, Any]:
    occurred_at = columns.get("occurred_at", NOON)
    plain = {
        "entry_id": entry_id, "kind": "call", "occurred_at": occurred_at, "recorded_at": NOON, "day": occurred_at.date(),
        "calls": 1, "cost_state": "priced", "outcome": "ok",
    }  # fmt: skip
    return plain | columns


def entries(*rows: dict[str, Any]) -> pa.Table:
    return conform(pl.DataFrame(list(rows), schema_overrides={"cost_usd": pl.Decimal(20, 12)}))
