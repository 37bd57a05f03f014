"""Points of metrics laid together: what one emitter says of one model at one moment is one record."""

from hashlib import blake2b

import numpy as np
import polars as pl

from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.dialects import DIALECTS
from spanledger.collector.dialects.fields import AMOUNTS, COUNTS, FIELDS, WHO
from spanledger.collector.dialects.meters import BY_NAME, TYPE_ATTRIBUTES
from spanledger.collector.recognise.roles import OPERATIONS, SPELLED

#: What tells one series of an emitter from another.
_SERIES = (
    "resource", "scope", "temporality", "provider", "request_model", "response_model", "operation", "error_type", "service_tier",
    "server_address", *WHO,
)  # fmt: skip
_CUMULATIVE = 2
_COUNTED = ("input", "output", "cache_read", "cache_write", "reasoning", "tool_prompt")
#: More is no number of tokens even of all calls together; floats count no further by ones.
_POSSIBLE = pl.col("value").is_between(0, 2**53)


def metric_records(frame: pl.DataFrame, telemetry: Telemetry) -> pl.DataFrame:
    """Points → one row for each metric, series and moment, with the columns of a spoken record; totals are as sent."""
    points = frame.filter(pl.col("given_name").is_in(list(BY_NAME)))
    if points.is_empty():
        return points
    read = pl.DataFrame(
        [(at, name) for at, dialect in enumerate(DIALECTS) for name in (BY_NAME if dialect.meters is None else dialect.meters)],
        schema={"dialect": pl.Int64, "given_name": pl.String},
        orient="row",
    )
    points = _typed(points.join(read, on=["dialect", "given_name"], how="semi"), telemetry)
    meant = pl.struct("given_name", "type").map_batches(_meanings, return_dtype=pl.String)
    points = points.with_columns(meant.alias("counted"), pl.col("operation").replace(SPELLED)).filter(
        pl.col("counted").is_not_null()
        # What is no number of tokens still counts the calls that it is the sum of.
        & (_POSSIBLE | pl.col("counted").is_in(_COUNTED)).fill_null(False)
        & (
            pl.col("operation").is_null()
            | pl.col("operation").is_in([name for name, role in OPERATIONS.items() if role == "leaf"])
        )
    )
    if points.is_empty():
        return points
    by = [*_SERIES, "given_name", "end"]
    points = _once(points, by).with_columns(
        pl.col("tokens_invalid") | ~_POSSIBLE, pl.when(_POSSIBLE).then("value").alias("value")
    )
    calls = pl.col("points").fill_null(0) * (
        pl.col("counted").is_in(["input", "seconds"]) & pl.col("given_name").is_in(_COUNTING)
    )
    summed = points.group_by(by, maintain_order=True).agg(
        pl.all().exclude([*_COUNTED, "cost", "tokens_invalid", "start", *by]).first(),
        pl.col("start").min(),
        *(
            pl.when(((pl.col("counted") == name) & pl.col("value").is_not_null()).any())
            .then(pl.col("value").filter(pl.col("counted") == name).sum())
            .cast(pl.Int64, strict=False)
            .alias(name)
            for name in _COUNTED
        ),
        pl.when(pl.col("counted").is_in(["cost", "cost_micros"]).any())
        .then(
            (pl.col("value") * pl.when(pl.col("counted") == "cost_micros").then(1e-6).otherwise(1.0))
            .filter(pl.col("counted").is_in(["cost", "cost_micros"]))
            .sum()
        )
        .alias("cost"),
        pl.col("tokens_invalid").any(),
        pl.col("counted").unique().sort().str.join(" ").alias("told"),
        calls.filter(pl.col("counted") == "input").sum().alias("by_tokens"),
        calls.filter(pl.col("counted") == "seconds").sum().alias("by_time"),
    )
    count = pl.max_horizontal("by_tokens", "by_time")
    said = pl.any_horizontal(pl.col("input", "output").is_not_null())
    rows = summed.with_columns(
        pl.when(count > 0).then(count).cast(pl.Int64, strict=False).alias("calls"),
        # A counter may bear the name of a histogram.
        ((count == 0) & pl.any_horizontal(pl.col("input", "output") > 0)).fill_null(False).alias("calls_unknown"),
        said.alias("said"),
        pl.lit("metric").alias("role"),
        (pl.col("temporality") == _CUMULATIVE).fill_null(False).alias("cumulative"),
        # Totals of one process begin at several moments, each when its attributes were seen first; those of another begin later.
        pl.when(pl.col("temporality") == _CUMULATIVE).then((pl.col("start") // 1000).cast(pl.Int64)).alias("since"),
        pl.when(said).then(False).otherwise(pl.col("error_type").is_null()).alias("usage_unknown"),
        *(pl.lit(None, dtype=pl.Int64).alias(name) for name in COUNTS if name not in (*_COUNTED, "status")),
        *(pl.lit(None, dtype=pl.Float64).alias(name) for name in AMOUNTS if name != "cost"),
        pl.col("given_name").alias("name"),
        pl.lit(False).alias("fails"),
    )
    series = [
        _digest(row)
        for row in rows.select("emitter", "scope_name", *(n for n in _SERIES if n not in ("resource", "scope"))).iter_rows()
    ]
    return rows.with_columns(
        pl.Series("series", series, dtype=pl.String),
        pl.Series(
            "digest",
            # A moment whose points come in two requests, as the Collector's batches cut them, is two records.
            [_digest(row) for row in zip(series, rows["name"], rows["end"], rows["told"], strict=True)],
            dtype=pl.String,
        ),
    ).drop("told", "by_tokens", "by_time", "counted", "type")


_COUNTING = [meter.name for meter in BY_NAME.values() if meter.counts_calls]


def _once(points: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """The points without those that another request of the batch holds as well: it was sent again."""
    same = [*by, "type", "value", "points"]
    nth = pl.int_range(pl.len()).over([*same, "body"]).alias("nth")
    return points.with_columns(nth).unique([*same, "nth"], keep="first", maintain_order=True).drop("nth")


def _typed(points: pl.DataFrame, telemetry: Telemetry) -> pl.DataFrame:
    """The points with their token type, as sent; "" where there is none."""
    attributes = telemetry.attributes
    wanted = np.array([key in TYPE_ATTRIBUTES for key in telemetry.keys], dtype=bool)
    at = np.flatnonzero(wanted[attributes.key])
    types = pl.DataFrame(
        {
            "at": attributes.row[at],
            "type": pl.Series(pl.from_arrow(attributes.texts(at, telemetry.keys)), dtype=pl.String),
            "told_by": pl.Series(telemetry.keys, dtype=pl.String).gather(pl.Series(attributes.key[at])),
        }
    )
    told_by = points["given_name"].replace_strict(
        {name: meter.type_attribute for name, meter in BY_NAME.items()}, return_dtype=pl.String
    )
    return (
        points.with_columns(told_by.alias("told_by"))
        .join(types.unique(["at", "told_by"]), on=["at", "told_by"], how="left")
        .drop("told_by")
    )


def _meanings(pairs: pl.Series) -> pl.Series:
    return pl.Series([BY_NAME[pair["given_name"]].fields.get(pair["type"] or "") for pair in pairs], dtype=pl.String)


def _digest(parts: tuple[object, ...]) -> str:
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


assert set(_COUNTED) <= set(FIELDS)  # noqa: S101
