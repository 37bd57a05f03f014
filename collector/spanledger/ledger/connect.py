"""Give DuckDB the ledger: views over the file list of one Delta snapshot, so that no extension is needed."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files as resources
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from spanledger.ledger.schema import ENTRIES

_LOCATION = "spanledger_location"


def connect(data: str | Path, *, storage_options: Mapping[str, str] | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection, in UTC, with the views `entries` and `calls` over the ledger of a data folder.

    `data` is the data folder (which holds `entries/`) or the URL or folder of the table itself. The views stand on the
    snapshot of this moment; `refresh` moves them to the newest. No ledger yet gives empty views of the right types.
    """
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    # The footers of files that never change need not be read again by every statement.
    connection.execute("set parquet_metadata_cache = true")
    connection.execute(f"set variable {_LOCATION} = {_quoted(str(data))}")
    refresh(connection, storage_options=storage_options)
    return connection


def refresh(connection: duckdb.DuckDBPyConnection, *, storage_options: Mapping[str, str] | None = None) -> int:
    """Move the views of a connection from `connect` to the ledger's newest snapshot; gives its version, -1 for none yet."""
    row = connection.execute(f"select getvariable('{_LOCATION}')").fetchone()
    if row is None or row[0] is None:
        raise ValueError("this connection was not made by spanledger.ledger.connect.connect")
    table = _table(row[0], storage_options)
    define_views(connection, table)
    return -1 if table is None else table.version()


def define_views(connection: duckdb.DuckDBPyConnection, table: DeltaTable | None) -> None:
    """Define `entries`, `corrections` and `calls` on a connection; an absent table gives empty ones."""
    paths = [] if table is None else table.file_uris()
    corrected = [] if table is None else _with_corrections(table)
    connection.begin()
    connection.execute(f"create or replace view entries as {_reading(paths)}")
    connection.execute(
        f"create or replace view corrections as select * from ({_reading(corrected)}) where kind in ('reversal', 'adjustment')"  # noqa: S608
    )
    connection.execute((resources("spanledger.ledger") / "sql" / "calls.sql").read_text())
    connection.commit()


@cache
def duckdb_types() -> dict[str, str]:
    """Column name → DuckDB's type, in the order of the schema."""
    return {field.name: _duckdb_type(field.type) for field in ENTRIES}


def _table(location: str, storage_options: Mapping[str, str] | None) -> DeltaTable | None:
    options = dict(storage_options) if storage_options else None
    if "://" not in location and not (Path(location) / "_delta_log").exists():
        location = str(Path(location) / "entries")
        if not Path(location).exists():
            return None
    try:
        return DeltaTable(location, storage_options=options)
    except TableNotFoundError:
        return None


def _reading(paths: Iterable[str]) -> str:
    listed = ", ".join(_quoted(path) for path in paths)
    types = duckdb_types()
    if not listed:
        empty = ", ".join(f'null::{kind} as "{name}"' for name, kind in types.items())
        return f"select {empty} where false"
    columns = ", ".join(f'"{name}"' for name in types)
    return f"select {columns} from read_parquet([{listed}], hive_partitioning = true, hive_types = {{'day': date}})"  # noqa: S608


def _with_corrections(table: DeltaTable) -> list[str]:
    """The files that may hold reversals or adjustments, by the least and greatest `kind` in the log.

    The kinds in order are adjustment, call, duplicate, reversal: the two corrections are the outer ones.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    nothing = pa.nulls(len(actions), pa.string())
    least = actions.column("min.kind") if "min.kind" in actions.column_names else nothing
    greatest = actions.column("max.kind") if "max.kind" in actions.column_names else nothing
    uris = {_relative(uri): uri for uri in table.file_uris()}
    return [
        uris[_relative(path)]
        for path, low, high in zip(actions.column("path").to_pylist(), least.to_pylist(), greatest.to_pylist(), strict=True)
        if low is None or high is None or low <= "adjustment" or high >= "reversal"
    ]


def _relative(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return f"map({_duckdb_type(kind.key_type)}, {_duckdb_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{_duckdb_type(kind.value_type)}[]"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    return _PLAIN[str(kind)]


_PLAIN = {
    "string": "varchar",
    "int32": "integer",
    "int64": "bigint",
    "double": "double",
    "bool": "boolean",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamptz",
}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
