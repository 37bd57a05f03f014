"""Tokens brought to one meaning: input with the cache, output with reasoning, whatever the emitter calls them.

What a dialect's numbers mean is a fact of its row; where no row knows, three arithmetic guards do; where they are silent
too, the conventions are taken at their word and the entry is flagged.
"""

import secrets
from collections.abc import Sequence

import numpy as np
import polars as pl

from spanledger.collector.columns.ancestry import PARENTS_CYCLE
from spanledger.collector.dialects import DIALECTS, Dialect
from spanledger.collector.dialects.dialect import Cache, Reasoning
from spanledger.collector.recognise.assumptions import CachedInput
from spanledger.collector.recognise.embedded import Usage, usage_in
from spanledger.collector.recognise.shapes import alike

#: Flags that a reading can raise, in the order of their bits.
FLAGS = (
    "semantics_assumed",  # nobody has seen how this emitter counts cached input for this provider; its row says how it is taken
    "semantics_by_arithmetic",  # its numbers contradict what was expected and prove that the cache stands apart
    "cache_unknown",  # this emitter leaves the cache out of the input, and says nothing of it: input may be too small
    "detail_lost",  # this emitter never exports cached tokens: the price is that of uncached input
    "reasoning_lost",  # this emitter leaves reasoning out of the output and does not say how much it was
    "embedded_unreadable",  # an embedded usage object is neither JSON nor a literal
    "tokens_invalid",  # a token count was negative, absurd or no number, and is left out
    "text_cut",  # a name was longer than 512 characters
    "time_implausible",  # the time it gives cannot be; the time of arrival stands for it
    "output_unknown",  # it answers, gives its input and says nothing of its output, as a stream that was cut: the price lacks it
    "usage_unknown",  # it was a call, and nothing says how many tokens it took
    "partial_sum",  # this emitter's sums hold the last of the calls they stand for, so that more was used
    "calls_unknown",  # a metric that sums tokens and does not count calls: one call is assumed for each of its points
    "cost_invalid",  # what it says the call cost was negative, absurd or no number, and is left out
    "ids_invalid",  # trace or span id are not of the length they must have
    PARENTS_CYCLE,  # it is its own parent, or its parents lead back to it
)

#: Operations whose answer is made of tokens.
_GENERATING = ["chat", "generate_content", "text_completion", "responses"]
_DETAILS = ("cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning", "input_audio", "output_audio", "total")
_EMBEDDED = ("input", "output", *_DETAILS)
#: Nobody who sends objects can know by which numbers they are hashed, nor make two look like one.
_SEED = secrets.randbits(64)


def meaning(row: Dialect, family: str) -> tuple[Cache, Reasoning, bool]:
    """What the numbers of a dialect mean: `cache`, `thinking`, `loses_cache`."""
    cache = row.cache.get(family) or row.cache.get("*") or "in?"
    return cache, row.reasoning.get(family) or row.reasoning.get("*") or "in", "cache_read" in row.loses


def normalise(records: pl.DataFrame, settled: Sequence[CachedInput] = ()) -> pl.LazyFrame:
    """The records with inclusive counts; adds boolean columns named as in `FLAGS`, one for each that can be told here.

    Reads the count fields, those of `meaning` and `raw`; `settled` facts go before those of the dialects.
    """
    frame = _with_embedded(records).lazy()
    for fact in settled:
        ours = (pl.col("scope_name") == fact.scope) & (pl.lit(not fact.provider) | (pl.col("provider") == fact.provider))
        stands = pl.lit("in" if fact.where == "inside" else "apart")
        frame = frame.with_columns(pl.when(ours.fill_null(False)).then(stands).otherwise("cache").alias("cache"))
    for stage in _STAGES:
        frame = frame.with_columns(stage)
    return frame


def _with_cache() -> list[pl.Expr]:
    read, write = pl.col("cache_read").fill_null(0), pl.col("cache_write").fill_null(0)
    given = pl.col("input").is_not_null()
    silent = pl.col("cache_read").is_null() & pl.col("cache_write").is_null()
    cached = read + write
    proved = (cached > pl.col("input")) | (
        (cached > 0) & (pl.col("total") == pl.col("input") + pl.col("output").fill_null(0) + cached)
    ).fill_null(False)
    known_in = pl.col("whole_input")
    unseen = pl.col("cache").str.ends_with("?")
    stands_apart = pl.col("cache").str.starts_with("apart")
    apart = given & ~known_in & (stands_apart | proved.fill_null(False))
    return [
        pl.coalesce("cache_write", pl.sum_horizontal("cache_write_5m", "cache_write_1h", ignore_nulls=False)).alias(
            "cache_write"
        ),
        pl.when(apart).then(pl.col("input") + cached).otherwise("input").alias("input"),
        (given & ~known_in & ~stands_apart & proved.fill_null(False)).alias("semantics_by_arithmetic"),
        (
            given & ~known_in & unseen & ~proved.fill_null(False) & ~((pl.col("cache_read") == 0) & (write == 0)).fill_null(False)
        ).alias("semantics_assumed"),
        (given & ~known_in & ((stands_apart & silent) | (pl.col("cache") == "lost"))).alias("cache_unknown"),
        # Metrics that have no name for cached tokens count them as fresh ones.
        (given & silent & (pl.col("loses_cache") | (pl.col("signal") == "metrics"))).alias("detail_lost"),
    ]


def _with_reasoning() -> list[pl.Expr]:
    reasoning, output, thinking = pl.col("reasoning"), pl.col("output"), pl.col("thinking")
    tools = pl.col("tool_prompt").fill_null(0)
    google = pl.col("family") == "google"
    beyond = pl.col("total") - pl.col("input") - output - tools
    by_total = ~pl.col("whole_output") & google & reasoning.is_null() & (beyond > 0)
    # A total that only adds up with the reasoning beside the output; with none there is nothing to add.
    beside = (google & (reasoning > 0) & (beyond >= reasoning)).fill_null(False)
    apart = ~pl.col("whole_output") & reasoning.is_not_null() & ((thinking == "apart") | (reasoning > output) | beside)
    return [
        pl.when(by_total).then(beyond).otherwise(reasoning).alias("reasoning"),
        pl.when(by_total)
        .then(output + beyond)
        .when(apart)
        .then(output.fill_null(0) + reasoning)
        .otherwise(output)
        .alias("output"),
        pl.when(~pl.col("whole_input")).then(pl.col("input") + tools).otherwise("input").alias("input"),
        (
            ~pl.col("whole_output")
            & (thinking == "apart")
            & reasoning.is_null()
            & output.is_not_null()
            & ~by_total.fill_null(False)
        ).alias("reasoning_lost"),
    ]


def _with_extra() -> list[pl.Expr]:
    given, answers = pl.col("input").is_not_null(), pl.col("operation").is_in(_GENERATING) & (pl.col("role") == "leaf")
    write, one, five = pl.col("cache_write"), pl.col("cache_write_1h"), pl.col("cache_write_5m")
    return [
        (given & pl.col("output").is_null() & answers).fill_null(False).alias("output_unknown"),
        pl.coalesce(five, pl.when(one <= write).then(write - one)).alias("cache_write_5m"),
        pl.coalesce(one, pl.when(five <= write).then(write - five)).alias("cache_write_1h"),
        pl.when(pl.col("extra_input").is_not_null())
        .then(pl.col("input").fill_null(0) + pl.col("extra_input"))
        .otherwise("input")
        .alias("input"),
        pl.when(pl.col("extra_output").is_not_null())
        .then(pl.col("output").fill_null(0) + pl.col("extra_output"))
        .otherwise("output")
        .alias("output"),
    ]


#: Made once: to make them takes as long as to compute them for a thousand records.
_STAGES = (_with_cache(), _with_reasoning(), _with_extra())


def _with_embedded(frame: pl.DataFrame) -> pl.DataFrame:
    """Counts from embedded objects: before the plain ones where the dialect says so, otherwise where those are missing."""
    rows = (frame["raw"].is_not_null() | frame["raw_output"].is_not_null()).arg_true()
    nothing = [pl.lit(False).alias(name) for name in ("whole_input", "whole_output", "embedded_unreadable")]
    if not rows.len():
        return frame.with_columns(nothing)
    held = frame.select("raw", "raw_output", "dialect")[rows]
    sample, index = alike(held.hash_rows(_SEED).to_numpy())
    told = list(held[sample].iter_rows())
    usages = [_embedded(*row) for row in told]
    firsts = [DIALECTS[dialect].embedded_first or DIALECTS[dialect].embedded == "adk" for _, _, dialect in told]
    # The last row is that of all records which embed nothing.
    counts = [*(usage.counts if usage else {} for usage in usages), {}]
    said = {name for count in counts for name in count}
    known = [name for name in _EMBEDDED if name in said]
    found = pl.DataFrame(
        [
            *(pl.Series(f"{name}_held", [count.get(name) for count in counts], dtype=pl.Int64) for name in known),
            pl.Series("first", [*firsts, False]),
            pl.Series("embedded_unreadable", [*(usage is None for usage in usages), False]),
            pl.Series("invalid_held", [*(usage is not None and usage.invalid for usage in usages), False]),
        ]
    )
    of_row = np.full(frame.height, len(usages), dtype=np.int64)
    of_row[rows.to_numpy()] = index
    joined = frame.with_columns(found[of_row].get_columns())
    first = pl.col("first")
    merged = [
        pl.when(first).then(pl.coalesce(f"{name}_held", name)).otherwise(pl.coalesce(name, f"{name}_held")).alias(name)
        for name in known
    ]
    return joined.with_columns(
        *merged,
        *(
            ((first | pl.col(name).is_null()) & pl.col(f"{name}_held").is_not_null() if name in said else pl.lit(False)).alias(
                f"whole_{name}"
            )
            for name in ("input", "output")
        ),
        (pl.col("tokens_invalid") | pl.col("invalid_held")).alias("tokens_invalid"),
    ).drop("first", "invalid_held", *(f"{name}_held" for name in known))


def _embedded(raw: str | None, details: str | None, dialect: int) -> Usage | None:
    """What one record's objects say together; None if one is malformed. Details of the output may stand in one of their own."""
    found: dict[str, int] = {}
    invalid = False
    for text in (details, raw):
        if text is not None:
            usage = usage_in(text, DIALECTS[dialect].embedded)
            if usage is None:
                return None
            found |= usage.counts
            invalid |= usage.invalid
    return Usage(found, invalid)
