"""`spanledger keys`: who may use the API. Works on the control database itself, so the first key needs no key."""

import json as as_text
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spanledger.cli.options import DEFAULT_DATA, Data

if TYPE_CHECKING:
    from spanledger.control.keys import Key, Keys

app = typer.Typer(name="keys", help="API keys: make, see and revoke them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Control = Annotated[
    str | None,
    typer.Option(
        "--control", metavar="URL", envvar="SPANLEDGER_CONTROL", help="The control database. [default: in the data folder]"
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: Annotated[list[str], typer.Option("--role", metavar="ROLE", help="ingest, check, read or admin. Repeatable.")],
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="The only tenant it speaks for.")] = None,
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", min=1, help="How long it opens. [default: until revoked]")
    ] = None,
    data: Data = DEFAULT_DATA,
    control: Control = None,
    json: Json = False,
) -> None:
    """Make a key and show it: this once, and never again."""
    from spanledger.cli.say import fail

    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    try:
        key, secret = _keys(data, control).create(name, role, who="command line", tenant=tenant, expires_at=expires)
    except ValueError as error:
        fail(str(error), code=2)
    if json:
        typer.echo(as_text.dumps({**_shown(key), "secret": secret}, indent=2))
    else:
        typer.echo(secret)
        typer.echo(
            f"{key.id}: {', '.join(sorted(key.roles))}. It is not shown again; a collector that runs knows it in seconds.",
            err=True,
        )


@app.command("list")
def list_(data: Data = DEFAULT_DATA, control: Control = None, json: Json = False) -> None:
    """All keys, without their secrets."""
    from spanledger.cli.table import show

    found = _keys(data, control).all()
    if json:
        typer.echo(as_text.dumps([_shown(key) for key in found], indent=2))
        return
    now = datetime.now(UTC)
    rows = [
        [key.id, key.prefix + "…", key.name, ",".join(sorted(key.roles)), key.tenant or "any",
         f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never", "" if key.is_active(now) else "closed"]
        for key in found
    ]  # fmt: skip
    show(
        ["id", "key", "name", "roles", "tenant", "last used", ""],
        rows,
        empty="no keys: the API is open to whoever is on this machine",
    )


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `spanledger keys list` shows it.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it stands in the audit.")] = None,
    data: Data = DEFAULT_DATA,
    control: Control = None,
) -> None:
    """Close a key for good."""
    from spanledger.cli.say import fail
    from spanledger.control import NotFound

    try:
        done = _keys(data, control).revoke(key, who="command line", why=reason)
    except NotFound as error:
        fail(str(error), code=2)
    typer.echo(f"revoked {done.name} ({done.prefix}…)")


def _keys(data: Path, control: str | None) -> "Keys":
    from spanledger.cli.say import fail
    from spanledger.control import Control as Database
    from spanledger.control import ControlError
    from spanledger.control.keys import Keys

    try:
        return Keys(Database.open(control or data / "control.sqlite"))
    except ControlError as error:
        fail(str(error))


def _shown(key: "Key") -> dict[str, Any]:
    moments = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "id": key.id, "name": key.name, "prefix": key.prefix, "roles": sorted(key.roles), "tenant": key.tenant,
        **{name: None if at is None else at.isoformat() for name, at in moments.items()},
    }  # fmt: skip
