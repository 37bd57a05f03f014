"""What no field takes: tags by their patterns, and the rest as JSON, without prompts and answers."""

from typing import cast

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.attributes import ARRAY, FLAG, MAP, REAL, TEXT, WHOLE, Attributes
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
    values = pc.utf8_slice_codeunits(pc.utf8_trim(attributes.spelled(at, telemetry.keys), '"'), 0, LONGEST_REST)
    given = values.is_valid().to_numpy(zero_copy_only=False)
    row, tags = attributes.row[at[given]], tag[attributes.key[at[given]]]
    _, first = np.unique(row * len(told) + tags, return_index=True)
    values = values.filter(pa.array(given)).take(pa.array(first))
    pairs = pa.StructArray.from_arrays([pa.array(told, pa.string()).take(pa.array(tags[first])), values], ["key", "value"])
    return frame.with_columns(_per_record("tags", _lists(pairs, row[first], telemetry.records.height), frame["at"]))


def _lists(values: pa.Array, row: Ints, rows: int) -> pa.Array:
    """Values, in the order of their records, as one list for each record."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _per_record(name: str, column: pa.Array, at: pl.Series) -> pl.Series:
    """A column of all records as one of the records that are left."""
    found = cast(pl.Series, pl.from_arrow(column)).alias(name)
    return found if len(at) == len(found) else found.gather(at)


def with_rest(frame: pl.DataFrame, telemetry: Telemetry, fields: Fields) -> pl.DataFrame:
    """What no field took, as a JSON object, for calls only and without content."""
    names = pa.array(telemetry.keys, pa.string())
    kept = pc.and_not(pc.not_equal(names, ""), pc.match_substring_regex(names, _CONTENT)).to_numpy(zero_copy_only=False)
    calls = np.zeros(telemetry.records.height, dtype=bool)
    calls[frame.filter(pl.col("role") == "leaf")["at"].to_numpy()] = True
    attributes = telemetry.attributes
    at = np.flatnonzero(kept[attributes.key])
    at = at[calls[attributes.row[at]]]
    at = at[~fields.used(at)]
    at = at[(attributes.kind[at] != TEXT) | (attributes.lengths(at) <= LONGEST_REST)]
    value = _as_json(attributes, at, telemetry.keys)
    given = value.is_valid()
    at, value = at[given.to_numpy(zero_copy_only=False)], value.filter(given)
    row = attributes.row[at]
    early = _within(row) < _MOST_REST
    quoted = pa.array([orjson.dumps(name[:LONGEST_REST]).decode() for name in telemetry.keys], pa.string())
    named = quoted.take(pa.array(attributes.key[at[early]]))
    pairs = _lists(pc.binary_join_element_wise(named, value.filter(pa.array(early)), ": "), row[early], len(calls))
    joined = pc.binary_join_element_wise("{", pc.binary_join(pairs, ", "), "}", "")
    rest = pc.if_else(pc.equal(pc.list_value_length(pairs), 0), None, joined)
    return frame.with_columns(_per_record("attributes", rest, frame["at"]))


def _within(row: Ints) -> Ints:
    """How many of the same record stand before each."""
    begins = np.flatnonzero(np.r_[True, row[1:] != row[:-1]][: len(row)])
    return np.arange(len(row)) - np.repeat(begins, np.diff(np.r_[begins, len(row)]))


def _as_json(attributes: Attributes, at: Ints, keys: list[str]) -> pa.Array:
    """Values as JSON; null for none, for no number, and for what is too long."""
    kind = attributes.kind[at]
    told = attributes.spelled(at, keys)
    bare = (kind == WHOLE) | (kind == FLAG) | ((kind == REAL) & np.isfinite(attributes.numbers(at)))
    quoted = pa.array((kind == TEXT) | (kind == ARRAY) | (kind == MAP))
    short = pc.and_(quoted, pc.less_equal(pc.binary_length(told), LONGEST_REST))
    distinct = pc.dictionary_encode(pc.if_else(short, told, None))
    plain = pc.replace_substring(pc.replace_substring(distinct.dictionary, "\\", "\\\\"), '"', '\\"')
    plain = pc.replace_substring_regex(plain, r"[\x00-\x1f\x7f]", " ")
    texts = pc.binary_join_element_wise('"', plain, '"', "").take(distinct.indices)
    return pc.if_else(pa.array(bare), told, texts) if bare.any() else texts
