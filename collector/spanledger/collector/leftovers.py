"""What no field takes: tags by their patterns, and the rest as JSON, without prompts and answers."""

from typing import cast

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from spanledger.collector.attributes import FLAG, REAL, TEXT, WHOLE, Attributes
from spanledger.collector.attribution import Attribution
from spanledger.collector.decode import Telemetry
from spanledger.collector.fields import Fields

Ints = npt.NDArray[np.int64]

#: Attributes with prompts, answers or whole requests in them: never kept.
_CONTENT = (
    r"message|prompt|completion|content|\binput\b|\boutput\b|input\.value|output\.value|instructions|definitions|arguments|result|embedding"
    r"|llm_request|llm_response|request_data|response_data|raw|json_schema|invocation_parameters|usage_object|\btools?\b|documents|schema|response$"
    r"|choices|hidden_params|model_request_parameters|user_api_key|stack|traceback|langsmith\.metadata\.[A-Z]"
)
#: Longer values are no labels.
LONGEST_REST = 256
#: More than so many attributes of one call are not kept.
_MOST_REST = 64


def with_tags(frame: pl.DataFrame, telemetry: Telemetry, attribution: Attribution) -> pl.DataFrame:
    """The frame with `tags`, in order of their names; of two attributes that become one tag the first counts."""
    names = [attribution.tag(key) for key in telemetry.keys]
    told = sorted({name for name in names if name is not None})
    order = {name: index for index, name in enumerate(told)}
    tag = np.array([-1 if name is None else order[name] for name in names] or [-1])
    attributes = telemetry.attributes
    at = np.flatnonzero(tag[attributes.key] >= 0)
    values = attributes.spelled(at, telemetry.keys).str.strip_chars('"').str.slice(0, LONGEST_REST)
    given = values.is_not_null().to_numpy()
    row, tags = attributes.row[at[given]], tag[attributes.key[at[given]]]
    _, first = np.unique(row * len(told) + tags, return_index=True)
    values = values.filter(pl.Series(given)).gather(pl.Series(first))
    pairs = pl.DataFrame({"key": pl.Series(told, dtype=pl.String).gather(pl.Series(tags[first])), "value": values})
    return frame.with_columns(_listed(pairs.to_struct("tags"), row[first], frame["at"], telemetry.records.height))


def _listed(values: pl.Series, row: Ints, of: pl.Series, rows: int) -> pl.Series:
    """Values, in the order of their records, as one list for each of the records in `of`."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))]).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), values.to_arrow())
    listed = cast(pl.Series, pl.from_arrow(lists)).alias(values.name)
    return listed if len(of) == rows else listed.gather(of)


def with_rest(frame: pl.DataFrame, telemetry: Telemetry, fields: Fields) -> pl.DataFrame:
    """What no field took, as a JSON object, for calls only and without content."""
    names = pl.Series("k", telemetry.keys, dtype=pl.String)
    kept = ((names != "") & ~names.str.contains(_CONTENT)).to_numpy()
    calls = np.zeros(telemetry.records.height, dtype=bool)
    calls[frame.filter(pl.col("role") == "leaf")["at"].to_numpy()] = True
    attributes = telemetry.attributes
    at = np.flatnonzero(kept[attributes.key])
    at = at[calls[attributes.row[at]]]
    at = at[~fields.used(at)]
    at = at[(attributes.kind[at] != TEXT) | (attributes.lengths(at) <= LONGEST_REST)]
    if not len(at):
        return frame.with_columns(pl.lit(None, dtype=pl.String).alias("attributes"))
    value = _as_json(attributes, at, telemetry.keys)
    given = value.is_not_null()
    row, key = attributes.row[at[given.to_numpy()]], attributes.key[at[given.to_numpy()]]
    quoted = pl.Series([orjson.dumps(name[:LONGEST_REST]).decode() + ": " for name in telemetry.keys], dtype=pl.String)
    pairs = quoted.gather(pl.Series(key)) + value.filter(given)
    early = _within(row) < _MOST_REST
    pairs, row = pairs.filter(pl.Series(early)), row[early]
    listed = pl.DataFrame({"pairs": _listed(pairs, row, frame["at"], telemetry.records.height)})
    joined = pl.concat_str(pl.lit("{"), pl.col("pairs").list.join(", "), pl.lit("}"))
    return frame.with_columns(
        listed.select(pl.when(pl.col("pairs").list.len() > 0).then(joined).alias("attributes"))["attributes"]
    )


def _within(row: Ints) -> Ints:
    """How many of the same record stand before each."""
    begins = np.flatnonzero(np.r_[True, row[1:] != row[:-1]][: len(row)])
    return np.arange(len(row)) - np.repeat(begins, np.diff(np.r_[begins, len(row)]))


def _as_json(attributes: Attributes, at: Ints, keys: list[str]) -> pl.Series:
    """Values as JSON; null for none, for no number, and for what is too long."""
    kind = attributes.kind[at]
    texts = attributes.texts(at, keys)
    texts = texts.zip_with((texts.str.len_bytes() <= LONGEST_REST).fill_null(False), _nothing(len(at)))
    odd = texts.str.contains(r'[\\"\x00-\x1f\x7f]').fill_null(False)
    if odd.any():
        plain = (
            texts.str.replace_all("\\", "\\\\", literal=True)
            .str.replace_all('"', '\\"', literal=True)
            .str.replace_all(r"[\x00-\x1f\x7f]", " ")
        )
        texts = plain.zip_with(odd, texts)
    texts = pl.Series('"' + texts + '"')
    if (kind == TEXT).all():
        return texts
    told = attributes.spelled(at, keys)
    finite = (kind == WHOLE) | (kind == FLAG) | ((kind == REAL) & np.isfinite(attributes.numbers(at)))
    return texts.zip_with(texts.is_not_null(), told.zip_with(pl.Series(finite), _nothing(len(at))))


def _nothing(length: int) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, length)
