"""Rows of a result on a terminal, as CSV or as JSON: exact, in order, and without holding them all in memory."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TextIO

import duckdb

Form = Literal["table", "csv", "json"]

_CHUNK = 2_000


class Failed(Exception):
    """A statement that DuckDB refused; the text is its first lines, `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def show(connection: duckdb.DuckDBPyConnection, statement: str, form: Form, out: TextIO, rows: int) -> None:
    """Run one or more statements and write the last one's rows to `out`; raises `Failed`."""
    try:
        result = connection.execute(statement)
        names = [column[0] for column in result.description or ()]
        found = _rows(result)
        match form:
            case "csv":
                _csv(names, found, out)
            case "json":
                _json(names, found, out)
            case "table":
                _table(names, found, out, rows)
    except duckdb.Error as error:
        raise Failed(*_explained(error)) from error


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := result.fetchmany(_CHUNK):
        yield from chunk


def _csv(names: Sequence[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if value is None else _text(value) for value in row])


def _json(names: Sequence[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> None:
    out.write("[")
    between = "\n"
    for row in rows:
        out.write(between + json.dumps(dict(zip(names, row, strict=True)), default=_text, ensure_ascii=False, allow_nan=True))
        between = ",\n"
    out.write("\n]\n")


def _table(names: Sequence[str], rows: Iterator[tuple[Any, ...]], out: TextIO, most: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(file=out, highlight=False, width=None if out.isatty() else 10_000, soft_wrap=False)
    shown = [row for row, _ in zip(rows, range(most), strict=False)]
    more = next(rows, None) is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for position, name in enumerate(names):
        numbers = all(isinstance(row[position], int | float | Decimal) or row[position] is None for row in shown)
        table.add_column(name, justify="right" if numbers and shown else "left", no_wrap=True)
    for row in shown:
        table.add_row(*("[dim]null[/dim]" if value is None else _escaped(value) for value in row))
    if console.measure(table).maximum > console.width:
        _records(names, shown, console)
    else:
        console.print(table)
    # The last row itself went into finding out that there was one.
    counted = f"first {len(shown):,} rows; all of them with --csv or --json, or --rows N" if more else _plural(len(shown), "row")
    console.print(f"[dim]({counted})[/dim]")


def _records(names: Sequence[str], rows: Sequence[tuple[Any, ...]], console: Any) -> None:
    """Too wide for the terminal: one column a line, what is null left out."""
    width = max(map(len, names))
    for number, row in enumerate(rows, 1):
        console.rule(f"row {number}", align="left")
        for name, value in zip(names, row, strict=True):
            if value is not None:
                console.print(f"[bold]{name:>{width}}[/bold]  {_escaped(value)}")


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _escaped(value: Any) -> str:
    from rich.markup import escape

    return escape(_text(value))


def _text(value: Any) -> str:
    """A value as people and programs both read it: no exponent, no trailing zeros, times in ISO 8601."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        if not value.is_finite():
            return str(value)
        plain = f"{value:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, default=_text, ensure_ascii=False)
    return str(value)


def _explained(error: duckdb.Error) -> tuple[str, str]:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    if isinstance(error, duckdb.CatalogException):
        return lines[0], 'what there is: spanledger sql "show tables", and "describe entries" for the columns'
    if isinstance(error, duckdb.BinderException):
        return "\n".join(lines), 'the columns: spanledger sql "describe entries"'
    return "\n".join(lines), ""
