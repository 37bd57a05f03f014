"""Entries as a Polars frame: the form in which the steps of the collector hand them on.

Polars has no map type, so `tags` and `other_meters` are lists of {key, value} there; `conform` makes the
Arrow table that the ledger keeps.
"""

from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.ledger.schema import ENTRIES


def _polars_type(kind: pa.DataType) -> pl.DataType:
    if pa.types.is_map(kind):
        return pl.List(pl.Struct({"key": pl.String(), "value": _polars_type(kind.item_type)}))
    if pa.types.is_decimal(kind):
        return pl.Decimal(kind.precision, kind.scale)
    return cast(pl.Series, pl.from_arrow(pa.nulls(0, kind))).dtype


#: Column name → Polars type, in the order of the schema.
COLUMNS: dict[str, pl.DataType] = {field.name: _polars_type(field.type) for field in ENTRIES}

_NEVER_NULL = {field.name: field.type for field in ENTRIES if not field.nullable}


def conform(frame: pl.DataFrame) -> pa.Table:
    """The frame as a table of exactly `ENTRIES`: missing columns are null, lists never are.

    Raises `ValueError` naming the column when a value does not fit or a required one is missing.
    """
    columns = []
    arrow = frame.select([c for c in frame.columns if c in COLUMNS]).to_arrow()
    for field in ENTRIES:
        if field.name not in arrow.column_names:
            columns.append(_filled(pa.nulls(arrow.num_rows, field.type), field))
            continue
        try:
            column = _cast(arrow.column(field.name), field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise ValueError(f"column {field.name} does not fit {field.type}: {error}") from error
        columns.append(_filled(column, field))
    return pa.Table.from_arrays(columns, schema=ENTRIES)


def frame_of(entries: pa.Table) -> pl.DataFrame:
    """A table of entries as a frame with the types of `COLUMNS`."""
    plain = pa.table(
        {name: _as_list(entries.column(name)) if pa.types.is_map(entries.schema.field(name).type) else entries.column(name)
         for name in entries.column_names}
    )  # fmt: skip
    frame = cast(pl.DataFrame, pl.from_arrow(plain))
    return frame.cast({name: COLUMNS[name] for name in frame.columns if name in COLUMNS})


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if not pa.types.is_map(kind):
        return column.cast(kind)
    chunks = []
    for chunk in column.chunks:
        listed = chunk.cast(pa.list_(pa.struct([("key", pa.string()), ("value", kind.item_type)])))
        offsets = listed.offsets
        pairs = listed.values
        keys = pc.fill_null(pc.struct_field(pairs, 0), "")
        chunks.append(pa.MapArray.from_arrays(offsets, keys, pc.struct_field(pairs, 1)).cast(kind))
    return pa.chunked_array(chunks, type=kind)


def _as_list(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = pa.list_(pa.struct([("key", pa.string()), ("value", column.type.item_type)]))
    chunks = [
        pa.ListArray.from_arrays(chunk.offsets, pa.StructArray.from_arrays([chunk.keys, chunk.items], names=["key", "value"]))
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, type=kind)


def _filled(column: pa.Array | pa.ChunkedArray, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    if field.nullable or not column.null_count:
        return column
    if pa.types.is_map(field.type):
        nothing = pa.nulls(0, field.type)
        empty = pa.MapArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(column) + 1), nothing.keys, nothing.items).cast(
            field.type
        )
        return empty if column.null_count == len(column) else _with_empty_lists(column, field.type)
    if pa.types.is_list(field.type):
        return pc.fill_null(column, pa.scalar([], type=field.type))
    raise ValueError(f"column {field.name} is required, and {column.null_count} of {len(column)} entries lack it")


def _with_empty_lists(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    return pa.array([value or [] for value in column.to_pylist()], type=kind)
