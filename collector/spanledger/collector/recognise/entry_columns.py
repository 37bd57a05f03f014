"""What records say, in the columns of an entry and those that counting once needs."""

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from spanledger.collector.dialects import DIALECTS
from spanledger.collector.dialects.fields import WHO
from spanledger.collector.recognise import names
from spanledger.collector.recognise.embedded import cost_in
from spanledger.collector.recognise.usage import FLAGS
from spanledger.ledger.frame import COLUMNS
from spanledger.prices.amounts import ABSURD_USD

#: What evidence holds beside the columns of an entry.
EXTRA: dict[str, Any] = {
    "role": pl.String,
    "name": pl.String,
    "family": pl.String,
    "emitter": pl.String,
    "started": pl.Int64,
    "ended": pl.Int64,
    "said": pl.Boolean,
    "detail": pl.Int64,
    "rank": pl.Int64,
    "status": pl.Int64,
    "cumulative": pl.Boolean,
    "synthetic": pl.Boolean,
    "series": pl.String,
    "since": pl.Int64,
    # of its input and output what other records of the same call leave out: of what tools brought, and of compactions
    "beside_input_tokens": pl.Int64,
    "beside_output_tokens": pl.Int64,
    # where it ran, as far as its resource says: what ran on two hosts, or in two processes, is never one by its fingerprint
    "host": pl.String,
    "process": pl.String,
    **{f"resource_{who}": pl.String for who in WHO},
    **{f"account_{who}": pl.String for who in ("tenant", "project")},
}

EVIDENCE: dict[str, Any] = {**COLUMNS, **EXTRA}


def _flagged(frame: pl.DataFrame) -> pl.Series:
    """The flags that are raised, as lists; few combinations occur."""
    raised = [name for name in FLAGS if name in frame.columns and frame[name].any()]
    code = np.zeros(frame.height, dtype=np.int64)
    for bit, name in enumerate(raised):
        raises = frame[name]
        raises = raises.fill_null(False) if raises.null_count() else raises
        code |= raises.to_numpy().astype(np.int64) << bit
    codes = np.flatnonzero(np.bincount(code))
    lists = [[name for bit, name in enumerate(raised) if value >> bit & 1] for value in codes.tolist()]
    return pl.Series("flags", lists, dtype=pl.List(pl.String))[pl.Series(np.searchsorted(codes, code))]


def evidence_of(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the columns of `EVIDENCE`."""
    names_of_dialects = pl.Series("dialect_name", [d.name for d in DIALECTS], dtype=pl.String)
    frame = frame.with_columns(
        names_of_dialects[frame["dialect"]],
        pl.coalesce("cost", "cost_micros", names.mapped(frame["raw_cost"], _cost_text).cast(pl.Float64)).alias("cost"),
    )
    if frame["cost"].null_count() < frame.height:
        # What attributes say is bounded where they are read; here what is embedded, and the sums of points.
        possible = pl.col("cost").is_between(0, ABSURD_USD)
        frame = frame.with_columns(
            pl.when(possible).then("cost").alias("cost"), pl.col("cost_invalid") | (~possible).fill_null(False)
        )
    frame = frame.with_columns(_flagged(frame))
    silent = {name for name in _SELDOM if name in frame.columns and frame[name].null_count() == frame.height}
    return _with_beside(frame.select(_told(frozenset(frame.columns) - silent)))


#: Under these names the ledger keeps what a record counts beside what others of its call do, so that these are known later too.
BESIDE = {f"beside_{which}_tokens": f"spanledger.beside_{which}_tokens" for which in ("input", "output")}


def _with_beside(evidence: pl.DataFrame) -> pl.DataFrame:
    """The evidence with what few records count beside others among their attributes."""
    for name, key in BESIDE.items():
        beside = (evidence[name] > 0).fill_null(False)
        if beside.any():
            before = pl.when(pl.col("attributes").is_null()).then(pl.lit("{")).otherwise(
                pl.col("attributes").str.strip_suffix("}") + ", "
            )  # fmt: skip
            told = pl.concat_str(before, pl.lit(f'"{key}": '), name, pl.lit("}"))
            evidence = evidence.with_columns(pl.when(beside).then(told).otherwise("attributes").alias("attributes"))
    return evidence


#: Fields that most batches say nothing of, and that take a while to be read: these are left out then.
_SELDOM = ("made_quality", "made_size", "streamed", "batch", "estimated", "cut_short")


@lru_cache(maxsize=64)
def _told(given: frozenset[str]) -> list[pl.Expr]:
    """The columns of `EVIDENCE` from those that are given."""
    # Money has a grain: what is less is as good as zero, which most emitters say of a price that they do not know.
    cost = pl.col("cost").round(12, mode="half_to_even")
    says_zero = pl.col("dialect").is_in([at for at, row in enumerate(DIALECTS) if row.zero_cost])
    lasted = (pl.col("ended") - pl.col("started")) / 1e6
    details = (
        "cache_read",
        "cache_write",
        "cache_write_5m",
        "cache_write_1h",
        "reasoning",
        "input_audio",
        "response_id",
        "ttft",
        "service_tier",
    )
    moment = pl.from_epoch("started", time_unit="us").dt.replace_time_zone("UTC")
    said: dict[str, pl.Expr] = {
        "occurred_at": moment,
        "day": moment.dt.date(),
        "recorded_at": pl.col("received_at"),
        "environment": pl.coalesce("environment", "resource_environment"),
        "duration_seconds": pl.when(~pl.col("time_implausible")).then(lasted),
        "time_to_first_token_seconds": pl.coalesce("ttft", "ttft_ms"),
        "dialect": pl.col("dialect_name"),
        "granularity": pl.when(pl.col("role") == "metric").then(pl.lit("metric")).otherwise(pl.lit("call")),
        "calls": pl.col("calls" if "calls" in given else "batch_calls"),
        "attempt": pl.when(pl.col("attempt").is_between(1, 1000)).then("attempt"),
        **{name: pl.col(name).str.to_lowercase() == "true" for name in ("streamed", "batch") if name in given},
        "response_id": pl.when(~pl.col("synthetic") & ~((pl.col("dialect") == _LITELLM) & pl.col("failed"))).then("response_id"),
        "input_tokens": pl.col("input"),
        "output_tokens": pl.col("output"),
        "beside_input_tokens": pl.when(pl.col("input").is_not_null() & ~pl.col("whole_input")).then(
            pl.coalesce(pl.col("extra_input") + pl.col("tool_prompt"), "extra_input", "tool_prompt")
        ),
        "beside_output_tokens": pl.when(pl.col("output").is_not_null()).then("extra_output"),
        "cache_read_tokens": pl.col("cache_read"),
        "cache_write_tokens": pl.col("cache_write"),
        "cache_write_5m_tokens": pl.col("cache_write_5m"),
        "cache_write_1h_tokens": pl.col("cache_write_1h"),
        "reasoning_tokens": pl.col("reasoning"),
        "input_audio_tokens": pl.col("input_audio"),
        "output_audio_tokens": pl.col("output_audio"),
        "cache_read_audio_tokens": pl.col("cache_read_audio"),
        "variant": _variant([name for name in ("made_quality", "made_size") if name in given]),
        "input_image_tokens": pl.col("input_image"),
        "output_image_tokens": pl.col("output_image"),
        "input_video_tokens": pl.col("input_video"),
        "reported_cost_usd": pl.when((cost > 0) | says_zero).then(cost).cast(COLUMNS["reported_cost_usd"], strict=False),
        "outcome": pl.when("failed").then(pl.lit("error")).otherwise(pl.lit("ok")),
        "tokens_estimated": pl.col("estimated").str.to_lowercase() == "true" if "estimated" in given else pl.lit(None),
        "cut_short": _cut_short(given),
        # Who knows of tokens that others leave out knows more than any detail of theirs.
        "detail": pl.sum_horizontal(pl.col(name).is_not_null() for name in details)
        + 16 * pl.any_horizontal(pl.col(name) > 0 for name in ("extra_input", "extra_output", "tool_prompt")).fill_null(False),
    }
    said |= {who: pl.col(who).str.strip_chars('"') for who in WHO}
    told = {name: said.get(name, pl.col(name) if name in given else pl.lit(None)) for name in EVIDENCE}
    return [expression.cast(EVIDENCE[name], strict=False).alias(name) for name, expression in told.items()]


def _cut_short(given: frozenset[str]) -> pl.Expr:
    """Whether a stream ended early, as it says itself or as its missing output does."""
    told = pl.col("cut_short").str.to_lowercase() == "true" if "cut_short" in given else pl.lit(None)
    if "streamed" not in given:
        return told
    answers_nothing = (pl.col("role") == "leaf") & pl.col("input").is_not_null() & pl.col("output").is_null()
    return pl.coalesce(told, pl.when(answers_nothing & (pl.col("streamed").str.to_lowercase() == "true")).then(True))


def _variant(said: list[str]) -> pl.Expr:
    """Quality and size of what was made, as `hd/1024x1024`; what the provider chose by itself is not known."""
    if not said:
        return pl.lit(None)
    spelled = [pl.col(name).str.to_lowercase() for name in said]
    told = [pl.when(~each.is_in(["auto", "default", ""])).then(each) for each in spelled]
    joined = pl.concat_str(told, separator="/", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


_LITELLM = next(index for index, dialect in enumerate(DIALECTS) if dialect.name == "litellm")


def _cost_text(raw: str) -> str | None:
    cost = cost_in(raw)
    return None if cost is None else repr(cost)
