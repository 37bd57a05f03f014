"""The prompt of `spanledger sql`: statements end with a semicolon, every one sees the newest entries."""

import atexit
import contextlib
import os
import readline
import sys
from pathlib import Path

import duckdb
import typer

from spanledger.cli.sql_output import Failed, Form, show

_HELP = """\
A statement ends with ; and may take several lines. Every statement sees the newest entries.

  .tables            the tables and views
  .columns [NAME]    the columns of a table, of entries if none is named
  .mode [FORM]       how rows are shown: table, csv or json
  .rows N            how many rows a table shows at most
  .read FILE         run the statements of a file
  .help              this list
  .quit              leave (also Ctrl-D)

Try:  select model, sum(calls) calls, sum(cost_usd) usd from entries group by all order by usd desc;"""


_FORMS: dict[str, Form] = {"table": "table", "csv": "csv", "json": "json"}
_NAMES = "select column_name from information_schema.columns union select table_name from information_schema.columns order by 1"


class Shell:
    """Reads statements from a terminal and shows what they give until the end of input."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, data: Path, form: Form, rows: int) -> None:
        self._connection = connection
        self._data = data
        self._form: Form = form
        self._rows = rows

    def run(self) -> None:
        """Until `.quit` or Ctrl-D; Ctrl-C leaves the statement, not the prompt."""
        typer.echo(f"The ledger in {self._data}. A statement ends with ;  .help lists the rest.")
        self._remember()
        statement = ""
        while True:
            try:
                line = input("   ...> " if statement else "ledger> ")
            except EOFError:
                typer.echo()
                return
            except KeyboardInterrupt:
                statement = ""
                typer.echo()
                continue
            if not statement and line.strip().startswith("."):
                if not self._command(line.strip()):
                    return
                continue
            statement = f"{statement}\n{line}".strip()
            if statement.endswith(";"):
                self._run(statement)
                statement = ""

    def _run(self, statement: str) -> None:
        from spanledger.ledger.connect import refresh

        try:
            refresh(self._connection)
            show(self._connection, statement, self._form, sys.stdout, self._rows)
        except Failed as error:
            typer.echo(f"{error}{chr(10) + error.hint if error.hint else ''}", err=True)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)

    def _command(self, line: str) -> bool:
        """Obey a line that begins with a dot; False when it says to leave."""
        name, _, rest = line.partition(" ")
        rest = rest.strip().rstrip(";")
        match name:
            case ".quit" | ".exit":
                return False
            case ".help":
                typer.echo(_HELP)
            case ".tables":
                self._run("show tables;")
            case ".columns":
                self._run(f"select column_name, column_type from (describe {rest or 'entries'});")  # noqa: S608  # their own terminal
            case ".mode" if rest in _FORMS:
                self._form = _FORMS[rest]
            case ".mode":
                typer.echo(f"{self._form}; the forms are table, csv and json", err=True)
            case ".rows" if rest.isdigit() and int(rest):
                self._rows = int(rest)
            case ".read":
                self._read(Path(rest))
            case _:
                typer.echo(f"{name} is not understood; .help lists what is", err=True)
        return True

    def _read(self, path: Path) -> None:
        try:
            self._run(path.read_text())
        except OSError as error:
            typer.echo(f"{path}: {error.strerror}", err=True)

    def _remember(self) -> None:
        """Keep the lines across sessions, and complete names of tables and columns with Tab."""
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "spanledger"
        history = state / "sql-history"
        with contextlib.suppress(OSError):  # no home to write to: a prompt without a memory
            state.mkdir(parents=True, exist_ok=True)
            history.touch(mode=0o600)  # statements may name customers
            readline.read_history_file(history)
            readline.set_history_length(2_000)
            atexit.register(_write_history, history)
        names = [row[0] for row in self._connection.execute(_NAMES).fetchall()]
        readline.set_completer(lambda text, n: next(iter([name for name in names if name.startswith(text)][n:]), None))
        readline.parse_and_bind("tab: complete")


def _write_history(path: Path) -> None:
    with contextlib.suppress(OSError):
        readline.write_history_file(path)
