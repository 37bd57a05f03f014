"""`spanledger pause`: refuse all checks of a subject, see who is paused, let them go on."""

import json as as_text
from typing import Annotated, Any
from urllib.parse import quote

import typer

from spanledger.cli.limit_asking import client_of, pages
from spanledger.cli.limit_options import Json, lists_of, moment_of
from spanledger.cli.options import DEFAULT_DATA, Data

app = typer.Typer(
    name="pause", help="Pause a subject, see who is paused, resume. Needs a running collector.", no_args_is_help=True
)


@app.command("list")
def list_(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """Who is paused."""
    from spanledger.cli.table import show

    found = pages(client_of(data), "/api/pauses", "pauses")
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    rows = [[p["id"], _whom(p), p["since"], p["until"] or "until resumed", p["reason"]] for p in found]
    show(["pause", "whom", "since", "until", "reason"], rows, empty="nobody is paused")


@app.command()
def add(
    subject: Annotated[list[str], typer.Argument(metavar="DIM=VALUE...", help="tenant=acme agent=crawler; abc* is a prefix.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever is refused reads it.")],
    until: Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="ISO 8601. [default: until resumed]")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Refuse all checks of a subject."""
    selectors = lists_of(subject, otherwise="POST /api/pauses takes it")
    made = client_of(data).call("POST", "/api/pauses", {"selectors": selectors, "reason": reason, "until": moment_of(until)})[1]
    typer.echo(as_text.dumps(made, indent=2) if json else f"paused {_whom(made)} ({made['id']})")


@app.command()
def resume(
    pause: Annotated[str, typer.Argument(metavar="PAUSE", help="The pause's id, as `spanledger pause list` shows it.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it stands in the audit.")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Let a paused subject go on."""
    client_of(data).call("DELETE", f"/api/pauses/{quote(pause, safe='')}", reason=reason)
    typer.echo(as_text.dumps({"resumed": pause}) if json else "resumed")


def _whom(pause: dict[str, Any]) -> str:
    named = ((name, [value or "(not given)" for value in values]) for name, values in pause["selectors"].items())
    return " ".join(f"{name}={'|'.join(values)}" for name, values in named) or "everyone"
