"""What of an entry's counters is charged under which meter."""

from dataclasses import dataclass

import polars as pl

from spanledger.prices.meters import CHARGED, METERS, Meter

#: More of anything than a call can consume. Beyond it, amounts would not fit 128 bits.
MOST = 10**12

#: Wholes that are taken as zero where nobody sent them.
_ALWAYS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")

_OTHER = [meter.counter for meter in METERS if not meter.column]


@dataclass(frozen=True, slots=True)
class Usage:
    """By row: what is charged under each meter that the batch has at all (seconds in microseconds); the call's size
    in input tokens; and what is odd about it."""

    charged: dict[str, pl.Series]
    size: pl.Series
    reported: pl.Series  # whether any counter is above zero
    inconsistent: pl.Series  # whether parts exceed their whole
    out_of_range: pl.Series


def usage(rows: pl.DataFrame) -> Usage:
    """The usage of entries; counters that are absent are zero. Reversals count as what they reverse."""
    counters = _counters(rows)
    frame = pl.DataFrame(list(counters.values())) if counters else rows.select()
    if not counters:
        frame = pl.DataFrame({"input_tokens": pl.zeros(rows.height, pl.Int64, eager=True)})
    has = set(frame.columns)
    for name in _ALWAYS:
        if name not in has:
            frame = frame.with_columns(pl.lit(0, pl.Int64).alias(name))
    written = [pl.col(name) for name in ("cache_write_5m_tokens", "cache_write_1h_tokens") if name in has]
    if written:
        frame = frame.with_columns(
            pl.max_horizontal("cache_write_tokens", pl.sum_horizontal(written)).alias("cache_write_tokens")
        )
    cached = pl.col("cache_read_tokens") + pl.col("cache_write_tokens")
    # An input smaller than what it is said to include was sent without it: reading it as the whole would lose the
    # fresh part of the bill, down to zero.
    exclusive = cached > pl.col("input_tokens")
    frame = frame.with_columns(
        exclusive.alias("exclusive"),
        pl.when(exclusive).then(pl.col("input_tokens") + cached).otherwise(pl.col("input_tokens")).alias("input_tokens"),
    )
    has = set(frame.columns) - {"exclusive"}
    leaves = {
        meter.counter: pl.sum_horizontal([pl.col(c) * w for c, w in CHARGED[meter.counter].items() if c in has])
        for meter in METERS if meter.counter in has
    }  # fmt: skip
    short = {name: leaf < 0 for name, leaf in leaves.items() if len(CHARGED[name]) > 1}
    # Of the others a whole that nobody sent is not known, and no part exceeds it, whatever else is in the batch.
    exceeded = [less if name in _ALWAYS else less & (pl.col(name) > 0) for name, less in short.items()]
    split = frame.select(
        pl.any_horizontal("exclusive", *exceeded).alias("inconsistent"),
        pl.any_horizontal(short.values()).alias("short"),
        pl.col("input_tokens").alias("size"),
        pl.any_horizontal([pl.col(name) > 0 for name in has]).alias("reported"),
        pl.any_horizontal([pl.col(name) > MOST * (1_000_000 if name.endswith("_seconds") else 1) for name in has]).alias(
            "out_of_range"
        ),
        *[leaf.alias(f"charged.{name}") for name, leaf in leaves.items()],
    )
    charged = {name: split[f"charged.{name}"] for name in leaves}
    if split["short"].any():
        charged = {name: leaf.clip(0) if len(CHARGED[name]) > 1 else leaf for name, leaf in charged.items()}
    charged["requests"] = _requests(rows)
    return Usage(charged, split["size"], split["reported"], split["inconsistent"], split["out_of_range"])


def _counters(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """The counters of which the batch has any, as whole numbers of 64 bits that are not negative."""
    found = {}
    for meter in METERS:
        if not meter.column or meter.counter == "requests" or meter.counter not in rows.columns:
            continue
        column = rows[meter.counter]
        if column.null_count() == len(column):
            continue
        whole = _whole(meter, column)
        if whole.max():
            found[meter.counter] = whole
    found |= _others(rows)
    return found


def _whole(meter: Meter, column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        column = column.fill_nan(None).clip(-float(MOST), float(MOST)) * (1_000_000 if meter.seconds else 1)
        column = column.round().cast(pl.Int64)
    return column.cast(pl.Int64).fill_null(0).abs().alias(meter.counter)


def _others(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """The meters that are counted in `other_meters`."""
    if "other_meters" not in rows.columns or rows["other_meters"].dtype == pl.Null or not rows["other_meters"].list.len().sum():
        return {}
    pairs = (
        rows.select(pl.int_range(pl.len()).alias("row"), "other_meters")
        .explode("other_meters", empty_as_null=False, keep_nulls=False)
        .unnest("other_meters")
        .filter(pl.col("key").is_in(_OTHER))
    )
    found = {}
    for meter in METERS:
        if meter.column:
            continue
        mine = pairs.filter(pl.col("key") == meter.counter).group_by("row").agg(pl.col("value").sum())
        if mine.height:
            column = pl.zeros(rows.height, pl.Float64, eager=True).scatter(mine["row"], mine["value"])
            found[meter.counter] = _whole(meter, column.alias(meter.counter))
    return found


def _requests(rows: pl.DataFrame) -> pl.Series:
    """A call is at least one request; an entry that stands for several calls is as many."""
    calls = (
        rows["calls"].abs().fill_null(1).clip(1)
        if "calls" in rows.columns
        else pl.repeat(1, rows.height, dtype=pl.Int64, eager=True)
    )
    if "requests" not in rows.columns:
        return calls.alias("requests")
    requests = rows["requests"].cast(pl.Int64).fill_null(0).abs()
    return pl.select(pl.when(requests > 0).then(requests).otherwise(calls).alias("requests")).to_series()
