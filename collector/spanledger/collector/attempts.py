"""Attempts of one logical call: a failed one and what was tried next in its place."""

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.evidence import Evidence, among

Ints = npt.NDArray[np.int64]

#: What begins later than this after a failure is a call of its own.
LONGEST_PAUSE_MICROS = 60_000_000


def with_attempts(calls: pl.DataFrame, evidence: Evidence, outer: Ints, began: Ints) -> pl.DataFrame:
    """The calls with `attempt` and `first_attempt`.

    `outer[row]` is the record inside which a row was made, -1 for none; `began[row]` is when its innermost record began.

    Calls follow each other if they were made for one call or below one span, of one model by one scope, the earlier one
    failed, and the later one began within a minute of its end. An emitter's own count stands where none is seen.
    """
    calls = calls.with_columns(pl.lit(None, dtype=pl.String).alias("first_attempt"))
    rows = calls["row"].to_numpy()
    failed = (calls["outcome"] == "error").fill_null(False).to_numpy()
    if not failed.any():
        return calls
    inside = np.zeros(evidence.height, dtype=bool)
    inside[outer[outer >= 0]] = True
    # An outer record that speaks for the one call inside it was made for itself.
    made_for = np.where((outer[rows] < 0) & inside[rows], rows, outer[rows])
    trace = evidence.narrow["trace"][rows]
    like = np.where(made_for >= 0, made_for.view(np.uint64), trace)
    at = np.flatnonzero((made_for >= 0) | (trace != 0))
    at = at[among(like[at], like[at][failed[at]])]
    alike = [pl.col("scope_name").fill_null(""), pl.coalesce("requested_model", "model")]
    below = pl.concat_str(pl.lit("span"), "trace_id", "parent_span_id", *alike, separator="/")
    within = pl.concat_str(pl.lit("call"), "made_for", separator="/")
    columns = ["trace_id", "parent_span_id", "scope_name", "requested_model", "model", "ended", "entry_id"]
    ordered = (
        calls[columns][pl.Series(at)]
        .with_columns(
            pl.Series("at", at),
            pl.Series("made_for", made_for[at]),
            pl.Series("began", began[rows[at]]),
            pl.Series("failed", failed[at]),
        )
        .with_columns(pl.when(pl.col("made_for") >= 0).then(within).otherwise(below).alias("place"))
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
    nth = np.full(calls.height, -1, dtype=np.int64)
    nth[chained["at"].to_numpy()] = np.arange(chained.height)
    linked, place = pl.Series(nth >= 0), pl.Series(np.maximum(nth, 0))
    return calls.with_columns(
        chained["nth"].gather(place).zip_with(linked, calls["attempt"].cast(pl.Int32)).alias("attempt"),
        pl.when(linked).then(chained["head"].gather(place)).alias("first_attempt"),
    )
