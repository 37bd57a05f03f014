"""Values that are arrays or maps, as the JSON that other emitters send in their place."""

from typing import Any, cast

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList

from spanledger.collector.decode import wire
from spanledger.collector.dialects import STRUCTURED

#: Attributes whose maps are read; all others are content.
READ = frozenset(STRUCTURED)
#: Longer maps are no usage and no labels.
_LONGEST = 32_768


def arrays_as_json(blobs: pa.Array) -> pa.Array:
    """ArrayValues in protobuf → JSON lists of strings; those that are alike are read once."""
    encoded = pc.dictionary_encode(blobs)
    read, _ = wire.read("ArrayValue", encoded.dictionary)
    values = read.column(0).flatten()
    texts = values.field("text")
    if texts.null_count:
        others = (
            cast(pl.Series, pl.from_arrow(values))
            .struct.unnest()
            .select(pl.coalesce("text", *(pl.col(name).cast(pl.String) for name in ("whole", "real", "flag"))))
        )
        texts = others.to_series().to_arrow().cast(pa.string())
    given = texts.is_valid()
    texts = pc.replace_substring(pc.replace_substring(texts.filter(given), "\\", "\\\\"), '"', '\\"')
    rows = pc.list_parent_indices(read.column(0)).to_numpy()[given.to_numpy(zero_copy_only=False)]
    ends = np.cumsum(np.bincount(rows, minlength=read.num_rows))
    quoted = pc.binary_join_element_wise('"', texts, '"', "")
    lists = pa.ListArray.from_arrays(pa.array(np.r_[0, ends].astype(np.int32)), quoted)
    return pc.binary_join_element_wise("[", pc.binary_join(lists, ", "), "]", "").take(encoded.indices)


def maps_as_json(blobs: pa.Array) -> pa.Array:
    """KeyValueLists in protobuf → JSON objects; null for what cannot be read or is too long to be a usage or labels."""
    encoded = pc.dictionary_encode(blobs)
    return pa.array([_as_json(blob) for blob in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _as_json(held: bytes) -> str | None:
    try:
        plain = _plain(AnyValue(kvlist_value=KeyValueList.FromString(held))) if len(held) <= _LONGEST else None
        return None if plain is None else orjson.dumps(plain).decode()
    except (DecodeError, ValueError, orjson.JSONEncodeError):
        return None


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    return None if kind is None or kind == "bytes_value" else getattr(value, kind)
