"""`spanledger tiers`: named sets of limits, and who is in which."""

import json as as_text
from pathlib import Path
from typing import Annotated, Any

import typer

from spanledger.cli.limit_asking import client_of, pages
from spanledger.cli.limit_options import Json, Reason
from spanledger.cli.options import DEFAULT_DATA, Data

app = typer.Typer(
    name="tiers", help="Tiers: see, add, remove, and move somebody to another. Needs a running collector.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="TIER", help="The tier's name or id.")]


@app.command("list")
def list_(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """All tiers and who is in them."""
    from spanledger.cli.table import show

    found = pages(client_of(data), "/api/tiers", "tiers")
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    show(["tier", "of each", "members", "description"],
         [[t["name"], t["dimension"], _members(t), t["description"] or ""] for t in found], empty="no tiers yet")  # fmt: skip


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name for people.")],
    member: Annotated[
        list[str] | None, typer.Option("--member", metavar="VALUE", help="Who is in it; abc* is a prefix. Repeatable.")
    ] = None,
    dimension: Annotated[str, typer.Option("--dimension", metavar="DIM", help="Whose values its members are.")] = "tenant",
    default: Annotated[bool, typer.Option("--default", help="For all that are in no other tier.")] = False,
    reason: Reason = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Add a tier; limits are given to it with `spanledger limits add … --set tier=NAME`."""
    body = {"name": name, "members": member or [], "dimension": dimension, "is_default": default, "reason": reason}
    made = client_of(data).call("POST", "/api/tiers", body)[1]
    typer.echo(as_text.dumps(made, indent=2) if json else f"added {made['name']} ({made['id']}): {_members(made)}")


@app.command()
def move(
    member: Annotated[list[str], typer.Argument(metavar="VALUE", help="Whom to move: acme; abc* is a prefix.")],
    to: Annotated[str, typer.Option("--to", metavar="TIER", help="The tier's name or id.")],
    reason: Reason = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Move somebody to another tier, in one change. What they have used counts there, too.

    spanledger tiers move acme --to enterprise --reason "signed today"
    """
    found = _find(data, to)
    body = {"members": member, "reason": reason}
    made = client_of(data).call("POST", f"/api/tiers/{found['id']}/members", body)[1]
    typer.echo(as_text.dumps(made, indent=2) if json else f"moved {', '.join(member)} to {made['name']}")


@app.command()
def remove(tier: Name, reason: Reason = None, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """Remove a tier that no limit is of."""
    found = _find(data, tier)
    client_of(data).call("DELETE", f"/api/tiers/{found['id']}", reason=reason)
    typer.echo(as_text.dumps(found, indent=2) if json else f"removed {found['name']}")


def _find(data: Path, tier: str) -> dict[str, Any]:
    """The tier of this name or id; leaves with 2 and a word to the user when there is none."""
    from spanledger.cli.say import fail

    found = next((one for one in pages(client_of(data), "/api/tiers", "tiers") if tier in (one["name"], one["id"])), None)
    if found is None:
        fail(f"there is no tier {tier!r}", hint="`spanledger tiers list` shows them", code=2)
    return found


def _members(tier: dict[str, Any]) -> str:
    default = [f"every other {tier['dimension']}"] if tier["is_default"] else []
    return ", ".join([*tier["members"], *default]) or "nobody"
