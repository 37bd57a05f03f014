"""Tell which spans, log records and metric points are about calls, and read them into the columns of the ledger."""

import hashlib

import polars as pl

from spanledger.collector.decode import Telemetry


def recognise(telemetry: Telemetry) -> pl.DataFrame:
    """Evidence: one row for each span, record or point that says something about a call."""
    spans = telemetry.spans
    if spans.is_empty():
        return spans
    return (
        spans.filter(pl.col("operation").is_in(["chat", "text_completion", "embeddings", "generate_content"]))
        .with_columns(
            pl.struct("trace_id", "span_id")
            .map_elements(
                lambda s: hashlib.blake2b((s["trace_id"] + s["span_id"]).encode(), digest_size=16).hexdigest(),
                return_dtype=pl.String,
            )
            .alias("entry_id"),
            pl.from_epoch("start", time_unit="us").dt.replace_time_zone("UTC").alias("occurred_at"),
            pl.col("received_at").cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
            ((pl.col("end") - pl.col("start")) / 1e6).alias("duration_seconds"),
            pl.col("input_tokens", "output_tokens").cast(pl.Int64, strict=False),
            pl.when("error").then(pl.lit("error")).otherwise(pl.lit("ok")).alias("outcome"),
            pl.lit("traces").alias("signal"),
            pl.lit("otel").alias("dialect"),
            pl.lit("leaf").alias("role"),
            pl.lit("call").alias("granularity"),
        )
        .with_columns(pl.col("occurred_at").dt.date().alias("day"))
        .drop("start", "end", "error", "received_at")
    )
