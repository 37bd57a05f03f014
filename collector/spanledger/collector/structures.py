"""Values that are arrays or maps, as the JSON that other emitters send in their place."""

from collections.abc import Callable
from typing import Any, cast

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList

from spanledger.collector import wire
from spanledger.collector.dialects import STRUCTURED

#: Attributes whose maps are read; all others are content.
READ = frozenset(STRUCTURED)
#: Longer maps are no usage and no labels.
_LONGEST = 32_768


def as_json(blobs: pa.Array, read: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Structures in protobuf as `read` reads them; those that are alike are read once."""
    encoded = pc.dictionary_encode(blobs)
    return read(encoded.dictionary).take(encoded.indices)


def array_as_json(blobs: pa.Array) -> pa.Array:
    """ArrayValues in protobuf → JSON lists of strings."""
    read, _ = wire.read("ArrayValue", blobs)
    listed = cast(pl.Series, pl.from_arrow(read.column(0))).list.eval(
        pl.coalesce(
            pl.element().struct.field("text"),
            pl.element().struct.field("whole").cast(pl.String),
            pl.element().struct.field("real").cast(pl.String),
            pl.element().struct.field("flag").cast(pl.String),
        )
    )
    quoted = listed.list.eval(
        pl.lit('"') + pl.element().str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True) + '"'
    )
    joined = pl.concat_str(pl.lit("["), pl.col("v").list.join(", "), pl.lit("]")).alias("v")
    return pl.DataFrame({"v": quoted}).select(joined)["v"].to_arrow().cast(pa.string())


def map_as_json(blobs: pa.Array) -> pa.Array:
    """KeyValueLists in protobuf → JSON objects; null for what cannot be read or is too long to be a usage or labels."""
    return pa.array([_as_json(blob) for blob in blobs.to_pylist()], pa.string())


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
