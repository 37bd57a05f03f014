"""Shows the control database's tables to DuckDB by way of Arrow, so that SQL can join spend to limits.

DuckDB's own SQLite and PostgreSQL readers are extensions that would have to be downloaded.
"""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from spanledger.control import TABLES
from spanledger.control.columns import Exact, Moment

_EXACT = pa.decimal128(38, 12)


def define_control_tables(connection: duckdb.DuckDBPyConnection, url: str | None) -> None:
    """Copy the control tables of the database at `url` into a DuckDB connection, as they are now.

    Where there is no database yet, or it lacks a table, the table is empty and has its columns; None gives such tables only.
    Raises SQLAlchemy's `DBAPIError` when the database cannot be read.
    """
    engine = None if url is None else _reader(url)
    try:
        kept = set() if engine is None else set(sa.inspect(engine).get_table_names())
        for name, table in TABLES.items():
            rows = _rows(engine, table) if engine is not None and name in kept else []
            view = f"control_{name}"
            connection.register(view, _arrow(table, rows))
            connection.execute(f'create or replace table "{name}" as from "{view}"')
            connection.unregister(view)
    finally:
        if engine is not None:
            engine.dispose()


def _reader(url: str) -> sa.Engine | None:
    """An engine that changes nothing: neither makes a file nor migrates one."""
    parsed = sa.make_url(url)
    if not parsed.drivername.startswith("sqlite"):
        return sa.create_engine(parsed)
    if not parsed.database or not Path(parsed.database).exists():
        return None
    file = f"sqlite:///file:{Path(parsed.database).absolute()}?mode=ro&uri=true"
    engine = sa.create_engine(file, connect_args={"timeout": 5})
    try:
        engine.connect().close()
        sa.inspect(engine).get_table_names()
    except sa.exc.OperationalError:
        # Beside a database that is written SQLite wants files of its own; where nobody may write, nobody writes.
        if os.access(Path(parsed.database).parent, os.W_OK):
            raise
        engine.dispose()
        return sa.create_engine(f"{file}&immutable=1")
    return engine


def _rows(engine: sa.Engine, table: sa.Table) -> list[dict[str, Any]]:
    present = {column["name"] for column in sa.inspect(engine).get_columns(table.name)}
    with engine.connect() as database:
        columns = [column for column in table.columns if column.name in present]
        return [dict(row) for row in database.execute(sa.select(*columns)).mappings()]


def _arrow(table: sa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    fields = [pa.field(column.name, _type_of(column.type)) for column in table.columns]
    arrays = [
        pa.array([_value(column.type, row.get(column.name)) for row in rows], type=field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _type_of(kind: sa.types.TypeEngine[Any]) -> pa.DataType:
    match kind:
        case Exact() | sa.Numeric():
            return pa.float64() if isinstance(kind, sa.Float) else _EXACT
        case Moment() | sa.DateTime():
            return pa.timestamp("us", tz="UTC")
        case sa.Date():
            return pa.date32()
        case sa.Boolean():
            return pa.bool_()
        case sa.Integer():
            return pa.int64()
        case sa.LargeBinary():
            return pa.binary()
        case _:
            return pa.string()


def _value(kind: sa.types.TypeEngine[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, sa.JSON):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, Decimal):
        # Arrow refuses to drop digits; the thirteenth of a dollar is none of anybody's limits.
        return value.quantize(Decimal("1e-12"))
    return value
