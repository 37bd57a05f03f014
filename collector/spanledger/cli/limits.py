"""`spanledger limits`: see, add, change and remove limits of a running collector; `limit_use.py` has the rest of it."""

import json as as_text
from typing import Annotated, Any

import typer

from spanledger.cli import limit_use
from spanledger.cli import limit_words as words
from spanledger.cli.limit_asking import all_limits, client_of, find
from spanledger.cli.limit_options import (
    Amount,
    Json,
    Measure,
    Name,
    Per,
    Reason,
    Select,
    Set,
    Soft,
    Window,
    Zone,
    fields_of,
)  # fmt: skip
from spanledger.cli.options import DEFAULT_DATA, Data

app = typer.Typer(
    name="limits", help="Limits: see, add, change, remove and try them. Needs a running collector.", no_args_is_help=True
)


@app.command("list")
def list_(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """All limits and how full they are."""
    found = all_limits(client_of(data))
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    from spanledger.cli.table import show

    rows = [
        [
            x["name"],
            x["scope"],
            words.amount(x, "used"),
            words.amount(x, "held"),
            words.amount(x, "amount"),
            words.share(x),
            words.window(x),
            words.kind(x),
        ]
        for x in found
    ]
    show(["limit", "scope", "used", "held", "amount", "full", "window", "kind"], rows, right={2, 3, 4, 5}, empty="no limits yet")


@app.command()
def show(limit: Name, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """One limit with its fullest buckets and the bound it keeps."""
    found = find(data, limit)
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    from spanledger.cli.table import show as table

    amount = f"{words.amount(found, 'amount')} {found['measure']}"
    typer.echo(f"{found['name']}  {amount}, {words.window(found)}, {found['scope']} ({words.kind(found)})")
    bound = found["overshoot_bound"]
    typer.echo(f"calls that were checked can pass it by {bound['amount']} at most: {bound['says']}")
    for condition in bound["rests_on"]:
        typer.echo(f"  as long as {condition}")
    rows = [
        [
            b["scope"],
            words.measured(found, b["used"]),
            words.measured(found, b["held"]),
            words.measured(found, b["remaining"]),
            words.share(b),
        ]
        for b in found["buckets"]
    ]
    empty = "its counters cannot be read now" if found.get("counters_away") else "nothing counted in this window yet"
    table(["bucket", "used", "held", "remaining", "full"], rows, right={1, 2, 3, 4}, empty=empty)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name for people.")],
    amount: Amount = None,
    measure: Measure = "cost_usd",
    window: Window = "month",
    zone: Zone = None,
    select: Select = None,
    per: Per = None,
    soft: Soft = None,
    set_: Set = None,
    reason: Reason = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Add a limit. What the ledger has in its window counts at once.

    spanledger limits add "acme per month" --amount 500 --select tenant=acme --zone Europe/Berlin
    """
    body = {"name": name} | fields_of(amount, measure, window, zone, select, per, soft, set_, reason)
    _say_done(client_of(data).call("POST", "/api/limits", body)[1], json, "added")


@app.command()
def change(
    limit: Name,
    amount: Amount = None,
    measure: Measure = None,
    window: Window = None,
    zone: Zone = None,
    select: Select = None,
    per: Per = None,
    soft: Soft = None,
    set_: Set = None,
    reason: Reason = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Change some fields of a limit; the others stay."""
    found = find(data, limit)
    body = fields_of(amount, measure, window, zone, select, per, soft, set_, reason, before=found["window"])
    _say_done(client_of(data).call("PATCH", f"/api/limits/{found['id']}", body)[1], json, "changed")


@app.command()
def remove(limit: Name, reason: Reason = None, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """Remove a limit."""
    found = find(data, limit)
    client_of(data).call("DELETE", f"/api/limits/{found['id']}", reason=reason)
    typer.echo(as_text.dumps(found, indent=2) if json else f"removed {found['name']}")


app.command("top-up")(limit_use.top_up)
app.command()(limit_use.grants)
app.command()(limit_use.revoke)
app.command()(limit_use.reset)
app.command()(limit_use.usage)
app.command()(limit_use.backtest)


def _say_done(limit: dict[str, Any], json: bool, done: str) -> None:
    if json:
        typer.echo(as_text.dumps(limit, indent=2))
        return
    used = f"{words.amount(limit, 'used')} of {words.amount(limit, 'amount')} used"
    typer.echo(f"{done} {limit['name']} ({limit['id']}): {used}, {words.window(limit)}, {limit['scope']}")
