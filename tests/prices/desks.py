"""A desk over a ledger and a control database of its own, without a collector."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from spanledger.collector.pricing import PriceDesk, open_prices
from spanledger.control import Control
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform, frame_of
from spanledger.ledger.schema import MEASURES
from spanledger.ledger.table import Ledger

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class At:
    """What stands on one folder."""

    folder: Path
    control: Control
    ledger: Ledger
    desk: PriceDesk

    def post(self, calls: Sequence[dict[str, Any]]) -> None:
        """Price calls and post them, as the collector does."""
        rows = [
            {
                "entry_id": f"{number:032x}", "kind": "call", "recorded_at": NOW, "calls": 1, "outcome": "ok",
                "provider": "openai", "model": "gpt-4o", "occurred_at": NOW, "input_tokens": 1000, "output_tokens": 100, **call,
            }
            for number, call in enumerate(calls)
        ]  # fmt: skip
        frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(day=pl.col("occurred_at").dt.date())
        self.ledger.post(conform(self.desk.prices.price(frame)), None)

    def reverse(self, number: int) -> None:
        """Post the reversal of a call, as counting once does: the negative of what it was posted with."""
        with self.read() as connection:
            found = connection.sql(f"select * from entries where entry_id = '{number:032x}'").to_arrow_table()
        frame = frame_of(found)
        negative = [-pl.col(name) for name in MEASURES if name in frame.columns]
        changed = frame.with_columns(
            *negative, kind=pl.lit("reversal"), stands_for=pl.col("entry_id"), entry_id=pl.lit(f"{number + 1000:032x}")
        )
        self.ledger.post(conform(changed), None)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        with self.read() as connection:
            return connection.execute(text).fetchall()

    def total(self) -> Decimal:
        """The plain sum over all entries."""
        return self.sql("select coalesce(sum(cost_usd), 0) from entries")[0][0]  # type: ignore[no-any-return]

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = connect(self.folder)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def desk_at(folder: Path) -> Iterator[At]:
    control = Control.open(folder / "control.sqlite")
    ledger = Ledger.open(folder / "entries")
    prices = open_prices(control, folder)
    desk = PriceDesk(
        control, folder, prices, read=lambda: connect(folder), post=lambda entries: ledger.post(entries, None), clock=lambda: NOW
    )
    try:
        yield At(folder, control, ledger, desk)
    finally:
        control.close()
