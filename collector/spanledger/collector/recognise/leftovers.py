"""What no field takes: tags by their patterns, and the rest as JSON, without prompts and answers."""

import re
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.decode.attributes import ARRAY, FLAG, MAP, REAL, TEXT, WHOLE, Attributes
from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.fields import Fields

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Attributes with prompts, answers or whole requests in them: never kept.
_CONTENT = re.compile(
    r"message|prompt|completion|content|\binput\b|\boutput\b|input\.value|output\.value|instructions|definitions|arguments|result|embedding"
    r"|llm_request|llm_response|request_data|response_data|raw|json_schema|invocation_parameters|usage_object|\btools?\b|documents|schema|response$"
    r"|choices|hidden_params|model_request_parameters|user_api_key|stack|traceback|langsmith\.metadata\.[A-Z]",
    re.ASCII,
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
    attributes, keys = telemetry.attributes, telemetry.keys
    calls = np.zeros(telemetry.records.height, dtype=bool)
    calls[frame["at"].filter(frame["role"] == "leaf").to_numpy()] = True
    shape, place = fields.shapes.places()
    left = np.flatnonzero(~fields.used & np.array([_is_label(key) for key in keys] or [False])[attributes.key[place]])
    _, row, at = fields.shapes.spread(shape[left], place[left], calls)
    kept = (attributes.kind[at] != TEXT) | (attributes.lengths(at) <= LONGEST_REST)
    values, value = _as_json(attributes, at[kept], keys)
    row, at, value = row[kept][value >= 0], at[kept][value >= 0], value[value >= 0]
    within = _within(row)
    early = within < _MOST_REST
    row, at, within, value = row[early], at[early], within[early], value[early]
    names = [orjson.dumps(key[:LONGEST_REST]).decode() for key in keys]
    pieces = pa.concat_arrays([pa.array([*(f"{{{name}: " for name in names), *(f", {name}: " for name in names), "}"]), values])
    # One after another: each name, each value, and after the last of a record a brace.
    count = np.bincount(row, minlength=len(calls))
    ends = np.cumsum(2 * count + (count > 0))
    piece = np.full(int(ends[-1]), 2 * len(names), dtype=np.int64)
    begins = (ends - (2 * count + (count > 0)))[row] + 2 * within
    piece[begins] = attributes.key[at] + len(names) * (within > 0)
    piece[begins + 1] = value + 2 * len(names) + 1
    rest = _end_to_end(pieces.take(pa.array(piece)), ends, count > 0)
    return frame.with_columns(_per_record("attributes", rest, frame["at"]))


def _end_to_end(pieces: pa.Array, ends: Ints, given: Flags) -> pa.Array:
    """Pieces as texts of some each, which lie one behind another already; null for those that are not given."""
    _, offsets, data = pieces.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[pieces.offset : pieces.offset + len(pieces) + 1][np.r_[0, ends]]
    valid = pa.py_buffer(np.packbits(given, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(ends), [valid, pa.py_buffer(bounds), data or pa.py_buffer(b"")])


@lru_cache(maxsize=65_536)
def _is_label(key: str) -> bool:
    """Whether an attribute of that name is kept."""
    return key != "" and _CONTENT.search(key) is None


def _within(row: Ints) -> Ints:
    """How many of the same record stand before each."""
    begins = np.flatnonzero(np.r_[True, row[1:] != row[:-1]][: len(row)])
    return np.arange(len(row)) - np.repeat(begins, np.diff(np.r_[begins, len(row)]))


def _as_json(attributes: Attributes, at: Ints, keys: list[str]) -> tuple[pa.Array, Ints]:
    """Values as JSON, and which of them each attribute has: -1 for none, for what is no number, and for what is too long."""
    kind = attributes.kind[at]
    bare = np.flatnonzero((kind == WHOLE) | (kind == FLAG) | (kind == REAL))
    bare = bare[(kind[bare] != REAL) | np.isfinite(attributes.numbers(at[bare]))]
    quoted = np.flatnonzero((kind == TEXT) | (kind == ARRAY) | (kind == MAP))
    told = attributes.texts(at[quoted], keys)
    short = np.flatnonzero(pc.less_equal(pc.binary_length(told), LONGEST_REST).fill_null(False).to_numpy(zero_copy_only=False))
    distinct = pc.dictionary_encode(told if len(short) == len(told) else told.take(pa.array(short)))
    plain = pc.replace_substring(pc.replace_substring(distinct.dictionary, "\\", "\\\\"), '"', '\\"')
    plain = pc.replace_substring_regex(plain, r"[\x00-\x1f\x7f]", " ")
    value = np.full(len(at), -1, dtype=np.int64)
    value[quoted[short]] = distinct.indices.to_numpy()
    value[bare] = np.arange(len(bare)) + len(plain)
    return pa.concat_arrays([pc.binary_join_element_wise('"', plain, '"', ""), attributes.spelled(at[bare], keys)]), value
