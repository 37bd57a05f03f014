"""`spanledger journal`: bodies that could not be turned into entries, and what to do about them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from spanledger.cli.options import DEFAULT_DATA, Data
from spanledger.cli.say import fail, note

app = typer.Typer(
    help="Bodies that were acknowledged but could not be turned into entries: list, show, retry and drop them.",
    no_args_is_help=True,
)

Sequences = Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", help="Their numbers, as `list` shows them.")]


@app.command("list")
def show_list(data: Data = DEFAULT_DATA) -> None:
    """List the bodies that were set aside, with the reason."""
    from rich.console import Console
    from rich.table import Table

    from spanledger.collector.journal.file import JournalError
    from spanledger.collector.journal.set_aside import set_aside

    try:
        found = set_aside(data)
    except JournalError as error:
        fail(str(error), hint="name the data folder with --data")
    if not found:
        note("no body is set aside")
        return
    table = Table("number", "received", "signal", "as", "bytes", "tried again", "reason", box=None)
    for one in found:
        body = one.received
        table.add_row(
            str(body.sequence), f"{body.received_at:%Y-%m-%d %H:%M:%S}", body.signal, f"{body.encoding}, {body.compression}",
            str(one.size), "asked for" if one.again else "no", one.reason,
        )  # fmt: skip
    Console().print(table)


@app.command()
def show(number: Annotated[int, typer.Argument(help="Its number, as `list` shows it.")], data: Data = DEFAULT_DATA) -> None:
    """Print one body as JSON, or its first bytes where it is no OTLP. It may hold prompts and answers."""
    from spanledger.collector.journal.file import JournalError
    from spanledger.collector.journal.set_aside import body_of, readable

    try:
        typer.echo(readable(body_of(data, number)))
    except (JournalError, LookupError) as error:
        fail(str(error), hint="`spanledger journal list` shows what there is")


@app.command()
def retry(
    numbers: Sequences = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Try bodies again: within seconds by a running collector, else at its next start."""
    from spanledger.collector.journal import set_aside

    note(f"{_changed(set_aside.retry, numbers, every, data)} bodies will be tried again")


@app.command()
def drop(
    numbers: Sequences = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Forget bodies for good."""
    from spanledger.collector.journal import set_aside

    note(f"{_changed(set_aside.drop, numbers, every, data)} bodies dropped")


def _changed(change: Callable[[Path, list[int]], int], numbers: list[int] | None, every: bool, data: Path) -> int:
    from spanledger.collector.journal.file import JournalError

    if bool(numbers) == every:
        fail("name the bodies, or say --all", code=2)
    try:
        changed = change(data, numbers or [])
    except JournalError as error:
        fail(str(error), hint="name the data folder with --data")
    if changed < (named := len(set(numbers or []))):
        fail(f"only {changed} of the {named} named are set aside", hint="`spanledger journal list` shows what there is")
    return changed
