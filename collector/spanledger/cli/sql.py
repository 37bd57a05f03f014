"""`spanledger sql`: any SQL over the ledger, while the collector runs or not."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from spanledger.cli.options import DEFAULT_DATA, Data
from spanledger.cli.say import fail, note


def sql(
    statement: Annotated[
        str | None,
        typer.Argument(metavar="[STATEMENT]", help="What to run; '-' reads it from standard input; nothing opens a prompt."),
    ] = None,
    data: Data = DEFAULT_DATA,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every row as CSV with a header line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every row as an element of a JSON array; money is a string.")] = False,
    as_known_on: Annotated[
        str, typer.Option("--as-known-on", metavar="TIME", help="What the ledger said then: 2026-11-20 or 2026-11-20T08:00:00Z.")
    ] = "",
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many rows a table shows at most.")] = 200,
) -> None:
    """Run SQL (DuckDB's) over the ledger.

    The views are `entries` (every row: calls, duplicates, reversals and adjustments, so that every measure is a plain sum),
    `calls` (one row a call, corrections folded in) and the control tables such as `limits`. Reading never disturbs the
    collector: the answer is from the newest commit. With --as-known-on it leaves out what came late, was corrected or was
    re-rated since.

    \b
    spanledger sql "select model, sum(calls) calls, sum(cost_usd) usd from entries group by all order by usd desc"
    """
    from spanledger.cli.sql_output import Failed, Form, show

    if as_csv and as_json:
        fail("--csv and --json exclude each other", code=2)
    form: Form = "csv" if as_csv else "json" if as_json else "table"
    connection = _connected(data, _moment(as_known_on))
    if statement is None and sys.stdin.isatty():
        from spanledger.cli.sql_shell import Shell

        Shell(connection, data, form, rows).run()
        return
    text = sys.stdin.read() if statement in (None, "-") else statement
    if not text or not text.strip():
        fail("there is no statement to run", hint='try: spanledger sql "describe entries"', code=2)
    try:
        show(connection, text, form, sys.stdout, rows)
    except Failed as error:
        fail(str(error), hint=error.hint)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()


def _moment(text: str) -> datetime | None:
    """A moment; a bare day is midnight UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--as-known-on {text}: should read 2026-11-20 or 2026-11-20T08:00:00Z", code=2)
    if at.tzinfo is None and len(text) != len("2026-11-20"):
        fail(f"--as-known-on {text}: needs an offset or Z, such as {text}Z", code=2)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _connected(data: Path, as_known_on: datetime | None):  # type: ignore[no-untyped-def]
    """A connection over `data`, which need not hold a ledger yet but must not be something else."""
    from spanledger.cli.libraries import prepare

    prepare()
    from spanledger.analytics.connect import connect
    from spanledger.ledger.opening import LedgerError

    if data.exists() and not data.is_dir():
        fail(f"--data {data} is a file, not a folder", code=2)
    if not data.exists():
        fail(f"there is no ledger in {data}", hint="start one with: spanledger up (or name its folder with --data)")
    try:
        return connect(data, as_known_on=as_known_on)
    except LedgerError as error:
        try:
            connection = connect(data, damaged="leave out", as_known_on=as_known_on)
        except LedgerError:
            fail(str(error))
        note(f"spanledger: {error}\nWhat follows is from everything else.")
        return connection
