"""Give DuckDB the ledger: views over the file list of one Delta snapshot, so that no extension is needed."""

import weakref
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from spanledger.ledger import rollup
from spanledger.ledger.damage import Damaged, damaged_files, sentence, unreadable_files
from spanledger.ledger.opening import LedgerError, local_folder, location_of, open_table
from spanledger.ledger.pins import Pin
from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.version import missing_columns, mixed

_LOCATION = "spanledger_location"
_DAMAGED = "spanledger_damaged"
_KNOWN_ON = "spanledger_as_known_on"

#: What to do about files that are missing or were cut: refuse with a sentence that names them, or show what is left.
Damage = Literal["refuse", "leave out"]

_pins: "weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, Pin]" = weakref.WeakKeyDictionary()


def connect(
    data: str | Path, *, storage_options: Mapping[str, str] | None = None, damaged: Damage = "refuse",
    as_known_on: datetime | None = None,
) -> duckdb.DuckDBPyConnection:  # fmt: skip
    """An in-memory DuckDB connection, in UTC, with the views `entries`, `calls`, `rollup` and `rollup_coarse` over a ledger.

    `data` is the data folder (which holds `entries/`, or says where they are) or the URL or folder of the table itself. The
    views stand on the snapshot of this moment, whose files stay as long as the connection lives; `refresh` moves them to
    the newest. No ledger yet gives empty views of the right types. Raises `LedgerError` with a sentence that names the file
    when some of the ledger is damaged; `damaged="leave out"` shows everything else.

    With `as_known_on`, an aware moment, all views show what the ledger had learned by then: without what came late, was
    corrected or was re-rated since. They are answered from the entries one by one, as sums do not know when they were learned.
    """
    if as_known_on is not None and as_known_on.tzinfo is None:
        raise ValueError(f"as_known_on needs a time zone: {as_known_on.isoformat()}")
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    # The footers of files that never change need not be read again by every statement.
    connection.execute("set parquet_metadata_cache = true")
    connection.execute(f"set variable {_LOCATION} = {rollup.quoted(str(data))}")
    connection.execute(f"set variable {_DAMAGED} = {rollup.quoted(damaged)}")
    if as_known_on is not None:
        connection.execute(f"set variable {_KNOWN_ON} = {rollup.quoted(as_known_on.astimezone(UTC).isoformat())}")
    refresh(connection, storage_options=storage_options)
    return connection


def refresh(connection: duckdb.DuckDBPyConnection, *, storage_options: Mapping[str, str] | None = None) -> int:
    """Move the views of a connection from `connect` to the ledger's newest snapshot; gives its version, -1 for none yet.

    Raises `LedgerError` as `connect` does; the views stay where they were then.
    """
    variables = ", ".join(f"getvariable('{name}')" for name in (_LOCATION, _DAMAGED, _KNOWN_ON))
    row = connection.execute(f"select {variables}").fetchone()
    if row is None or row[0] is None:
        raise ValueError("this connection was not made by spanledger.ledger.connect.connect")
    table = _table(row[0], storage_options)
    if table is None:
        define_views(connection, None)
        return -1
    folder = local_folder(table.table_uri)
    if folder is not None:
        if connection not in _pins:
            _pins[connection] = pin = Pin(folder)
            weakref.finalize(connection, pin.close)
        _pins[connection].move(table.version())
    define_views(connection, table, damaged=row[1], as_known_on=row[2])
    return table.version()


def define_views(
    connection: duckdb.DuckDBPyConnection, table: DeltaTable | None, *, damaged: Damage = "refuse", as_known_on: str | None = None
) -> None:
    """Define the views of a ledger on a connection; an absent table gives empty ones."""
    folder = None if table is None else local_folder(table.table_uri)
    if table is not None and folder is None:
        from spanledger.ledger.remote import reach  # here, as few need it

        reach(connection, table)
    if table is None or folder is None:
        _define(connection, table, None, [], as_known_on)
        return
    found = damaged_files(table, folder)
    if damaged == "refuse" and found:
        raise LedgerError(sentence(folder, found))
    try:
        _define(connection, table, folder, found, as_known_on)
    except duckdb.Error as error:
        connection.rollback()
        unreadable = unreadable_files(table, folder, whole=False)
        if not unreadable:
            raise LedgerError(f"the ledger {folder} cannot be read: {str(error).splitlines()[0]}") from error
        if damaged == "refuse":
            raise LedgerError(sentence(folder, unreadable)) from error
        _define(connection, table, folder, found + unreadable, as_known_on)


def _define(
    connection: duckdb.DuckDBPyConnection,
    table: DeltaTable | None,
    folder: Path | None,
    without: list[Damaged],
    as_known_on: str | None,
) -> None:
    """The views, without some of the files."""
    paths = [] if table is None else _uris(table)
    corrected = [] if table is None else _with_corrections(table)
    lacking: list[str] = [] if table is None else missing_columns(table)
    by_name = table is not None and mixed(table)
    gone = {one.path for one in without}
    paths = [path for path in paths if _relative(path) not in gone]
    corrected = [path for path in corrected if _relative(path) not in gone]

    def entries_in(files: Iterable[str]) -> str:
        found = reading(files, lacking, by_name=by_name)
        return found if as_known_on is None else f"select * from ({found}) where recorded_at <= timestamptz '{as_known_on}'"  # noqa: S608

    uris = {_relative(path): path for path in paths}
    connection.begin()
    connection.execute(f"create or replace view entries as {entries_in(paths)}")
    correcting = entries_in(corrected)
    connection.execute(
        f"create or replace view corrections as select * from ({correcting}) where kind in ('reversal', 'adjustment')"  # noqa: S608
    )
    # Without corrections every call stands as it is; joining none of them would take 6 ms to define and 3 to ask.
    uncorrected = "create or replace view calls as select * from entries where kind = 'call'"
    connection.execute((resources("spanledger.ledger") / "sql" / "calls.sql").read_text() if corrected else uncorrected)
    for name, grain in rollup.VIEWS.items():
        sums = folder if as_known_on is None else None
        summed = rollup.view(grain, sums, uris, lambda left: entries_in(uris[path] for path in left))
        connection.execute(f"create or replace view {name} as {summed}")
    connection.commit()


@cache
def duckdb_types() -> dict[str, str]:
    """Column name → DuckDB's type, in the order of the schema."""
    return {field.name: _duckdb_type(field.type) for field in ENTRIES}


def _table(location: str, storage_options: Mapping[str, str] | None) -> DeltaTable | None:
    if "://" in location or (Path(location) / "_delta_log").exists():
        return open_table(location, storage_options)
    found = location_of(Path(location))
    return None if found is None else open_table(found, storage_options)


def reading(paths: Iterable[str], lacking: Iterable[str], *, by_name: bool) -> str:
    """A select of all columns from Parquet files of the table; `lacking` are columns that none of them has yet.

    `by_name` is for files of which some, or all, may lack columns that nobody names here.
    """
    listed = list(paths)
    types = duckdb_types()
    empty = f"select {', '.join(f'null::{kind} as {chr(34)}{name}{chr(34)}' for name, kind in types.items())} where false"
    if not listed:
        return empty
    read = f"read_parquet({_list(listed)}, hive_partitioning = true, hive_types = {{'day': date}}"
    if by_name:
        names = ", ".join(f'"{name}"' for name in types)
        # What no file has comes, empty, from the second part, of which the plan leaves nothing.
        return f"select {names} from (from {read}, union_by_name = true) union all by name {empty})"  # noqa: S608
    columns = ", ".join(f'null::{kind} as "{name}"' if name in lacking else f'"{name}"' for name, kind in types.items())
    return f"select {columns} from {read})"  # noqa: S608


def _list(paths: list[str]) -> str:
    """A list of texts as SQL. One text that is split: of ninety texts in a list DuckDB makes so many expressions that they
    take 1.2 ms of each question (`bench/queries.py`)."""
    separator = next((mark for mark in "\n|\t" if not any(mark in path for path in paths)), None)
    if separator is None:
        return f"[{', '.join(rollup.quoted(path) for path in paths)}]"
    return f"string_split({rollup.quoted(separator.join(paths))}, {rollup.quoted(separator)})"


def _with_corrections(table: DeltaTable) -> list[str]:
    """The files that may hold reversals or adjustments, by the least and greatest `kind` in the log.

    The kinds in order are adjustment, call, duplicate, reversal: the two corrections are the outer ones.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    nothing = pa.nulls(len(actions), pa.string())
    least = actions.column("min.kind") if "min.kind" in actions.column_names else nothing
    greatest = actions.column("max.kind") if "max.kind" in actions.column_names else nothing
    uris = {_relative(uri): uri for uri in _uris(table)}
    return [
        uris[_relative(path)]
        for path, low, high in zip(actions.column("path").to_pylist(), least.to_pylist(), greatest.to_pylist(), strict=True)
        if low is None or high is None or low <= "adjustment" or high >= "reversal"
    ]


def _uris(table: DeltaTable) -> list[str]:
    uris = list(table.file_uris())
    return uris if local_folder(table.table_uri) else [f"spanledger://{_relative(uri)}" for uri in uris]


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
