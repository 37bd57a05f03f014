"""What no field takes: tags by their patterns, and the rest as JSON, without prompts and answers."""

import numpy as np
import orjson
import polars as pl

from spanledger.collector.attribution import Attribution
from spanledger.collector.decode import Telemetry
from spanledger.collector.fields import Fields
from spanledger.ledger.frame import COLUMNS

#: Attributes with prompts, answers or whole requests in them: never kept.
_CONTENT = (
    r"message|prompt|completion|content|\binput\b|\boutput\b|input\.value|output\.value|instructions|definitions|arguments|result|embedding"
    r"|llm_request|llm_response|request_data|response_data|raw|json_schema|invocation_parameters|usage_object|\btools?\b|documents|schema|response$"
    r"|choices|hidden_params|model_request_parameters|user_api_key|stack|traceback|langsmith\.metadata\.[A-Z]"
)
#: Longer values are no labels.
LONGEST_REST = 256


def with_tags(frame: pl.DataFrame, telemetry: Telemetry, attribution: Attribution) -> pl.DataFrame:
    of_key = pl.Series("tag", [attribution.tag(key) for key in telemetry.keys], dtype=pl.String)
    empty = pl.Series("tags", [[]], dtype=COLUMNS["tags"])
    if of_key.null_count() == of_key.len():
        return frame.with_columns(empty.new_from_index(0, frame.height))
    wanted = of_key.is_not_null()[telemetry.attributes["key"]]
    tagged = telemetry.attributes.filter(wanted)
    value = pl.coalesce("text", pl.col("whole").cast(pl.String), pl.col("real").cast(pl.String), pl.col("flag").cast(pl.String))
    lists = (
        tagged.select(
            pl.col("row").alias("at"),
            of_key[tagged["key"]].alias("key"),
            value.str.strip_chars('"').str.slice(0, 256).alias("value"),
        )
        .drop_nulls("value")
        .unique(["at", "key"], keep="first", maintain_order=True)
        .group_by("at")
        .agg(pl.struct("key", "value").sort_by("key").alias("tags"))
    )
    return frame.join(lists, on="at", how="left", maintain_order="left").with_columns(
        pl.col("tags").fill_null(pl.lit(empty).first())
    )


def with_rest(frame: pl.DataFrame, telemetry: Telemetry, fields: Fields) -> pl.DataFrame:
    """What no field took, as a JSON object, for calls only and without content."""
    content = pl.Series([bool(name) for name in telemetry.keys], dtype=pl.Boolean) & ~pl.Series(
        "k", telemetry.keys, dtype=pl.String
    ).str.contains(_CONTENT)
    calls = np.zeros(telemetry.records.height, dtype=bool)
    calls[frame.filter(pl.col("role") == "leaf")["at"].to_numpy()] = True
    attributes = telemetry.attributes
    wanted = ~fields.used & content.to_numpy()[attributes["key"].to_numpy()] & calls[attributes["row"].to_numpy()]
    if not wanted.any():
        return frame.with_columns(pl.lit(None, dtype=pl.String).alias("attributes"))
    quoted = pl.Series("key", [orjson.dumps(key[:LONGEST_REST]).decode() for key in telemetry.keys], dtype=pl.String)
    rest = attributes.filter(pl.Series(wanted)).filter(
        pl.col("text").is_null() | (pl.col("text").str.len_bytes() <= LONGEST_REST)
    )
    text = (
        pl.col("text")
        .str.replace_all("\\", "\\\\", literal=True)
        .str.replace_all('"', '\\"', literal=True)
        .str.replace_all(r"[\x00-\x1f\x7f]", " ")
    )
    value = pl.coalesce(
        pl.lit('"') + text + pl.lit('"'),
        pl.col("whole").cast(pl.String),
        pl.when(pl.col("real").is_finite()).then(pl.col("real").cast(pl.String)),
        pl.when(pl.col("flag")).then(pl.lit("true")).when(~pl.col("flag")).then(pl.lit("false")),
    )
    objects = (
        rest.select(pl.col("row").alias("at"), pl.concat_str([quoted[rest["key"]], pl.lit(": "), value]).alias("pair"))
        .drop_nulls("pair")
        .group_by("at", maintain_order=True)
        .agg(pl.col("pair").head(64))
        .select("at", pl.concat_str([pl.lit("{"), pl.col("pair").list.join(", "), pl.lit("}")]).alias("attributes"))
    )
    return frame.join(objects, on="at", how="left", maintain_order="left")
