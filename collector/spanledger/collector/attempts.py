"""Attempts of one logical call: a failed one and what was tried next in its place."""

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]

#: What begins later than this after a failure is a call of its own.
LONGEST_PAUSE_MICROS = 60_000_000


def with_attempts(calls: pl.DataFrame, outer: Ints, began: Ints) -> pl.DataFrame:
    """The calls with `attempt` and `first_attempt`.

    `outer[row]` is the record inside which a row was made, -1 for none; `began[row]` is when its innermost record began.

    Calls follow each other if they were made for one call or below one span, of one model by one scope, the earlier one
    failed, and the later one began within a minute of its end. An emitter's own count stands where none is seen.
    """
    rows = calls["row"].to_numpy()
    # An outer record that speaks for the one call inside it was made for itself.
    made_for = np.where((outer[rows] < 0) & np.isin(rows, outer), rows, outer[rows])
    alike = [pl.col("scope_name").fill_null(""), pl.coalesce("requested_model", "model")]
    below = pl.concat_str(pl.lit("span"), "trace_id", "parent_span_id", *alike, separator="/")
    within = pl.concat_str(pl.lit("call"), pl.Series(made_for).cast(pl.String), separator="/")
    place = pl.when(pl.Series(made_for >= 0)).then(within).otherwise(below)
    if not (calls["outcome"] == "error").any():
        return calls
    ordered = (
        calls.select(
            pl.int_range(pl.len()).alias("at"),
            place.alias("place"),
            pl.Series("began", began[rows]),
            "ended",
            "entry_id",
            (pl.col("outcome") == "error").alias("failed"),
        )
        .drop_nulls("place")
        .sort("place", "began", "ended", "entry_id")
    )
    follows = pl.col("failed").shift(1).over("place").fill_null(False) & (
        pl.col("began") - pl.col("ended").shift(1).over("place")
    ).is_between(-1_000, LONGEST_PAUSE_MICROS)
    chained = (
        ordered.with_columns((~follows).cum_sum().alias("chain"))
        .with_columns(
            pl.int_range(1, pl.len() + 1).over("chain").cast(pl.Int32).alias("nth"),
            pl.col("entry_id").first().over("chain").alias("head"),
            pl.len().over("chain").alias("tries"),
        )
        .filter(pl.col("tries") > 1)
        .select("at", "nth", "head")
    )
    if not chained.height:
        return calls
    joined = (
        calls.with_row_index("at")
        .with_columns(pl.col("at").cast(pl.Int64))
        .join(chained, on="at", how="left", maintain_order="left")
    )
    return joined.with_columns(
        pl.coalesce("nth", pl.col("attempt").cast(pl.Int32)).alias("attempt"), pl.col("head").alias("first_attempt")
    ).drop("at", "nth", "head")
