"""Ledgers to ask questions of: entries made by hand, posted by the real ledger."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow as pa

from spanledger.analytics.query import define_macros
from spanledger.ledger.frame import COLUMNS, conform
from spanledger.ledger.rollup import VIEWS, slotted
from spanledger.ledger.table import Ledger

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)  # a Wednesday


def call(cost: str | None = "0.01", *, at: datetime = NOON, **columns: Any) -> dict[str, Any]:
    """One call that cost so many dollars, or has no price."""
    return {
        "entry_id": uuid4().hex,
        "kind": "call",
        "occurred_at": at,
        "recorded_at": at + timedelta(seconds=5),
        "day": at.date(),
        "calls": 1,
        "provider": "openai",
        "model": "gpt-5-mini",
        "operation": "chat",
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_usd": None if cost is None else Decimal(cost),
        "cost_state": "unpriced" if cost is None else "priced",
        "outcome": "ok",
        "duration_seconds": 1.0,
    } | columns


def reversal(of: dict[str, Any]) -> dict[str, Any]:
    """The entry that takes a call back."""
    negated = {name: -of[name] for name in ("calls", "input_tokens", "output_tokens", "cost_usd") if of[name] is not None}
    return of | {"entry_id": uuid4().hex, "kind": "reversal", "stands_for": of["entry_id"]} | negated


def adjustment(of: dict[str, Any], difference: str) -> dict[str, Any]:
    """The entry that corrects what a call cost."""
    nothing = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": Decimal(difference)}
    return of | {"entry_id": uuid4().hex, "kind": "adjustment", "stands_for": of["entry_id"]} | nothing


def table(entries: Iterable[dict[str, Any]]) -> pa.Table:
    """The entries as the ledger keeps them."""
    rows = list(entries)
    names = {name for row in rows for name in row}
    return conform(pl.DataFrame(rows, schema={name: kind for name, kind in COLUMNS.items() if name in names}))


def in_memory(entries: Iterable[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    """A connection as `connect` gives it, over entries that are on no disk: for tests that need very many ledgers."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.register("entries", table(entries))
    connection.execute("create view corrections as from entries where kind in ('reversal', 'adjustment')")
    for name, grain in VIEWS.items():
        connection.execute(f"create view {name} as {slotted('select * from entries', grain)}")
    define_macros(connection)
    return connection


def filled(folder: Path, entries: Iterable[dict[str, Any]]) -> Path:
    """A data folder whose ledger holds the entries."""
    Ledger.open(folder / "entries").post(table(entries), 1)
    return folder
