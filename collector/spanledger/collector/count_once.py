"""Turn evidence into entries: every call once, whatever the order in which its spans, logs and metrics arrive."""

from datetime import datetime

import polars as pl

from spanledger.ledger.frame import COLUMNS


class CountOnce:
    """Keeps recent evidence in bounded memory. Not safe to use from two threads at once."""

    def __init__(self) -> None:
        self._seen = pl.DataFrame(schema={"entry_id": pl.String})

    def count(self, evidence: pl.DataFrame, *, now: datetime, mark: int = 0) -> pl.DataFrame:
        """Entries without money for this evidence: calls, duplicates and reversals; `now` is when they are recorded."""
        new = evidence.filter(pl.col("role") == "leaf").unique("entry_id", keep="first", maintain_order=True)
        new = new.join(self._seen, on="entry_id", how="anti")
        self._seen = pl.concat([self._seen, new.select("entry_id")]).tail(500_000)
        return new.with_columns(
            pl.lit("call").alias("kind"),
            pl.lit(1, dtype=pl.Int64).alias("calls"),
            pl.lit(now).cast(COLUMNS["recorded_at"]).alias("recorded_at"),
        ).select([name for name in COLUMNS if name in new.columns or name in ("kind", "calls", "recorded_at")])

    def due(self, *, now: datetime) -> pl.DataFrame:
        """Entries that only the passing of time decides: an aggregate below which nothing was counted, a metric alone."""
        return pl.DataFrame(schema=COLUMNS)

    def posted(self, mark: int, entries: pl.DataFrame | None = None) -> None:
        """The ledger has committed everything up to this mark, `entries` as priced among it."""
