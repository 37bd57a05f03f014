"""How a command speaks: results on standard output, everything else on standard error, a failure in one line."""

import sys
from typing import NoReturn

import typer

#: Who may do what while no key was made.
NO_KEY = "none: whoever is on this machine may do everything (spanledger keys create)"


def fail(message: str, *, hint: str = "", code: int = 1) -> NoReturn:
    """Say what went wrong and what to do about it, and leave with `code`: 1 is the world's fault, 2 the command line's."""
    typer.secho(f"spanledger: {message}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
    if hint:
        typer.echo(f"  {hint}", err=True)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Tell a person something that is not part of the result."""
    typer.echo(message, err=True)
