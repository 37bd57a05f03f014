"""`spanledger limits top-up`, `grants`, `revoke`, `reset`, `usage` and `backtest`: what is done with limits that are there."""

import json as as_text
from typing import Annotated, Any
from urllib.parse import quote

import typer

from spanledger.cli import limit_words as words
from spanledger.cli.limit_asking import client_of, find, pages
from spanledger.cli.limit_options import Json, Name, Reason, moment_of, pairs_of
from spanledger.cli.options import DEFAULT_DATA, Data


def top_up(
    limit: Name,
    amount: Annotated[str, typer.Argument(help="How much more.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")],
    subject: Annotated[list[str] | None, typer.Option("--for", metavar="DIM=VALUE", help="One bucket only. Repeatable.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="ISO 8601. [default: the window's end]")] = None,
    instead: Annotated[bool, typer.Option("--instead", help="Instead of the limit's amount, not on top of it.")] = False,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Give a limit more for a time."""
    found = find(data, limit)
    body = {"kind": "override" if instead else "top_up", "amount": amount, "reason": reason, "expires_at": moment_of(until)}
    made = client_of(data).call("POST", f"/api/limits/{found['id']}/grants", body | {"subject": pairs_of(subject) or None})[1]
    if json:
        typer.echo(as_text.dumps(made, indent=2))
        return
    typer.echo(f"{made['kind']} of {made['amount']} for {found['name']} until {made['expires_at']} ({made['id']})")


def grants(
    limit: Annotated[str | None, typer.Argument(metavar="[LIMIT]", help="Of this limit only.")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Top-ups and overrides in force or to come."""
    found = pages(client_of(data), "/api/grants", "grants", limit_id=find(data, limit)["id"] if limit else None)
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    from spanledger.cli.table import show as table

    rows = [[g["id"], g["limit"], g["kind"], g["amount"], _bucket(g), g["expires_at"], g["reason"]] for g in found]
    table(["grant", "limit", "kind", "amount", "for", "until", "reason"], rows, right={3}, empty="no grants")


def revoke(
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="Its id, as `spanledger limits grants` shows it.")],
    reason: Reason = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """End a top-up or an override early."""
    client_of(data).call("DELETE", f"/api/grants/{quote(grant, safe='')}", reason=reason)
    typer.echo(as_text.dumps({"revoked": grant}) if json else "revoked")


def reset(
    limit: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")],
    subject: Annotated[list[str] | None, typer.Option("--for", metavar="DIM=VALUE", help="Which bucket. Repeatable.")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Forget what a bucket has counted in its window so far."""
    found = find(data, limit)
    done = client_of(data).call("POST", f"/api/limits/{found['id']}/resets", {"subject": pairs_of(subject), "reason": reason})[1]
    if json:
        typer.echo(as_text.dumps(done, indent=2))
        return
    typer.echo(f"forgot {done['forgotten']} {found['measure']} of {found['name']}")


def usage(
    subject: Annotated[list[str], typer.Argument(metavar="DIM=VALUE...", help="tenant=acme user=u-17")],
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """All limits of one subject: used, held, remaining, when they reset."""
    found = client_of(data).call("GET", "/api/usage", of=subject)[1]
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    from spanledger.cli.table import show as table

    shown = ("used", "held", "amount", "remaining")
    rows = [
        [x["limit"], x["scope"], *(words.measured(x, x[name]) for name in shown), x["window_end"] or ""] for x in found["limits"]
    ]
    table(["limit", "scope", *shown, "resets"], rows, right={2, 3, 4, 5}, empty="no limit covers it")
    for pause in found["pauses"]:
        typer.echo(f"paused: {pause['reason']} ({pause['id']})")


def backtest(
    limit: Name,
    since: Annotated[str | None, typer.Option("--since", metavar="MOMENT", help="ISO 8601. [default: 30 days ago]")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="ISO 8601. [default: now]")] = None,
    amount: Annotated[str | None, typer.Option("--amount", help="As if the limit had this amount.")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Whom a limit would have refused or warned in the past, when, and what it would have saved."""
    found = find(data, limit)
    client = client_of(data)
    if amount is None:
        tested = client.call("GET", f"/api/limits/{found['id']}/backtest", since=moment_of(since), until=moment_of(until))[1]
    else:
        body = {field: found[field] for field in _fields_it_takes(found)} | {"amount": amount}
        tested = client.call("POST", "/api/limits/backtest", body, since=moment_of(since), until=moment_of(until))[1]
    if json:
        typer.echo(as_text.dumps(tested, indent=2))
        return
    from spanledger.cli.table import show as table

    typer.echo(
        f"{tested['covered']:,} of {tested['calls']:,} calls are under it: "
        f"{tested['refused']:,} refused, {tested['warned']:,} warned; "
        f"${tested['saved_usd']} of ${tested['cost_usd']} saved"
    )
    rows = [[b["scope"], b["window_start"] or "", f"{b['refused']:,}", f"{b['warned']:,}", b["first_refused_at"] or "",
             f"${b['saved_usd']}"] for b in tested["buckets"]]  # fmt: skip
    table(["bucket", "window", "refused", "warned", "first refused", "saved"], rows, right={2, 3, 5}, empty="nobody")


def _bucket(grant: dict[str, Any]) -> str:
    given = (grant["subject"] or {}).items()
    return " ".join(f"{name}={'(not given)' if value is None else value}" for name, value in given) or "every bucket"


def _fields_it_takes(found: dict[str, Any]) -> list[str]:
    """The fields of a limit as the API shows it that it also takes."""
    from spanledger.limits.limit import READERS

    return [name for name in READERS if found.get(name) is not None]
