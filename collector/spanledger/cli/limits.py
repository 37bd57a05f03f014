"""`spanledger limits`: see, add, change, remove and try limits of a running collector."""

import json as as_text
from typing import Annotated, Any

import typer

from spanledger.cli.options import DEFAULT_DATA, Data

app = typer.Typer(
    name="limits", help="Limits: see, add, change, remove and try them. Needs a running collector.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Name = Annotated[str, typer.Argument(metavar="LIMIT", help="The limit's name or id.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it stands in the audit.")]
Select = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="DIM=VALUE", help="Whom it covers: tenant=acme, model=gpt-*, tag.team=red. Repeatable."),
]
Per = Annotated[list[str] | None, typer.Option("--per", metavar="DIM", help="A bucket for each value of it. Repeatable.")]
Window = Annotated[
    str | None, typer.Option("--window", metavar="W", help='hour, day, week, month, quarter, year, "rolling 1h" or lifetime.')
]
Zone = Annotated[str | None, typer.Option("--zone", metavar="ZONE", help="Whose days and months: an IANA zone. [default: UTC]")]
Amount = Annotated[str | None, typer.Option("--amount", metavar="N", help="Dollars, tokens or requests.")]
Measure = Annotated[
    str | None, typer.Option("--measure", metavar="M", help="cost_usd, tokens, input_tokens, output_tokens or requests.")
]
Soft = Annotated[bool | None, typer.Option("--soft/--hard", help="Warn only, or refuse. [default: hard]")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any other field, its value as JSON or text: hold=learned, grace=0.1."),
]


@app.command("list")
def list_(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """All limits and how full they are."""
    found = _all(_client(data))
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    from spanledger.cli.table import show

    rows = [
        [x["name"], x["scope"], _amount(x, "used"), _amount(x, "held"), _amount(x, "amount"), _share(x), _window(x), _kind(x)]
        for x in found
    ]
    show(["limit", "scope", "used", "held", "amount", "full", "window", "kind"], rows, right={2, 3, 4, 5}, empty="no limits yet")


@app.command()
def show(limit: Name, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """One limit with its fullest buckets and the bound it keeps."""
    found = _find(data, limit)
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    from spanledger.cli.table import show as table

    typer.echo(
        f"{found['name']}  {_amount(found, 'amount')} {found['measure']}, {_window(found)}, {found['scope']} ({_kind(found)})"
    )
    bound = found["overshoot_bound"]
    typer.echo(f"calls that were checked can pass it by {bound['amount']} at most: {bound['says']}")
    for condition in bound["rests_on"]:
        typer.echo(f"  as long as {condition}")
    rows = [
        [b["scope"], _in(found, b["used"]), _in(found, b["held"]), _in(found, b["remaining"]), _share(b)]
        for b in found["buckets"]
    ]
    table(["bucket", "used", "held", "remaining", "full"], rows, right={1, 2, 3, 4}, empty="nothing counted in this window yet")


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
    body = {"name": name} | _fields(amount, measure, window, zone, select, per, soft, set_, reason)
    _said(_client(data).call("POST", "/api/limits", body)[1], json, "added")


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
    body = _fields(amount, measure, window, zone, select, per, soft, set_, reason)
    found = _find(data, limit)
    _said(_client(data).call("PATCH", f"/api/limits/{found['id']}", body)[1], json, "changed")


@app.command()
def remove(limit: Name, reason: Reason = None, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """Remove a limit."""
    found = _find(data, limit)
    _client(data).call("DELETE", f"/api/limits/{found['id']}", reason=reason)
    typer.echo(as_text.dumps(found, indent=2) if json else f"removed {found['name']}")


@app.command("top-up")
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
    found = _find(data, limit)
    body = {"kind": "override" if instead else "top_up", "amount": amount, "reason": reason, "expires_at": until}
    made = _client(data).call("POST", f"/api/limits/{found['id']}/grants", body | {"subject": _pairs(subject) or None})[1]
    if json:
        typer.echo(as_text.dumps(made, indent=2))
        return
    typer.echo(f"{made['kind']} of {made['amount']} for {found['name']} until {made['expires_at']} ({made['id']})")


@app.command()
def reset(
    limit: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")],
    subject: Annotated[list[str] | None, typer.Option("--for", metavar="DIM=VALUE", help="Which bucket. Repeatable.")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Forget what a bucket has counted in its window so far."""
    found = _find(data, limit)
    done = _client(data).call("POST", f"/api/limits/{found['id']}/resets", {"subject": _pairs(subject), "reason": reason})[1]
    if json:
        typer.echo(as_text.dumps(done, indent=2))
        return
    typer.echo(f"forgot {done['forgotten']} {found['measure']} of {found['name']}")


@app.command()
def usage(
    subject: Annotated[list[str], typer.Argument(metavar="DIM=VALUE...", help="tenant=acme user=u-17")],
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """All limits of one subject: used, held, remaining, when they reset."""
    from urllib.parse import quote

    found = _client(data).call("GET", f"/api/usage/{quote(','.join(subject), safe='')}")[1]
    if json:
        typer.echo(as_text.dumps(found, indent=2))
        return
    from spanledger.cli.table import show as table

    rows = [[x["limit"], x["scope"], _in(x, x["used"]), _in(x, x["held"]), _in(x, x["remaining"]), x["window_end"] or ""]
            for x in found["limits"]]  # fmt: skip
    table(["limit", "scope", "used", "held", "remaining", "resets"], rows, right={2, 3, 4}, empty="no limit covers it")
    for pause in found["pauses"]:
        typer.echo(f"paused: {pause['reason']} ({pause['id']})")


@app.command()
def backtest(
    limit: Name,
    since: Annotated[str | None, typer.Option("--since", metavar="MOMENT", help="ISO 8601. [default: 30 days ago]")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="ISO 8601. [default: now]")] = None,
    amount: Annotated[str | None, typer.Option("--amount", help="As if the limit had this amount.")] = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Whom a limit would have refused or warned in the past, when, and what it would have saved."""
    found = _find(data, limit)
    client = _client(data)
    if amount is None:
        tested = client.call("GET", f"/api/limits/{found['id']}/backtest", since=_moment(since), until=_moment(until))[1]
    else:
        body = {field: found[field] for field in client_fields(found)} | {"amount": amount}
        tested = client.call("POST", "/api/limits/backtest", body, since=_moment(since), until=_moment(until))[1]
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


def client_fields(found: dict[str, Any]) -> list[str]:
    """The fields of a limit as the API shows it that it also takes."""
    from spanledger.limits.limit import READERS

    return [name for name in READERS if found.get(name) is not None]


def _client(data: Any) -> Any:
    from spanledger.cli.api_client import ApiClient

    return ApiClient(data)


def _all(client: Any, name: str | None = None) -> list[dict[str, Any]]:
    """All limits, or those whose names begin so, page by page."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = client.call("GET", "/api/limits", name=name, count=1000, after=after)[1]
        found += page["limits"]
        after = page["next"]
        if after is None:
            return found


def _find(data: Any, limit: str) -> dict[str, Any]:
    from urllib.parse import quote

    from spanledger.cli.say import fail

    client = _client(data)
    if limit.startswith("lim_"):
        status, found = client.call("GET", f"/api/limits/{quote(limit, safe='')}", takes=(404,))
        if status == 200:
            return dict(found)
    named = next((one for one in _all(client, limit) if one["name"] == limit), None)
    if named is None:
        fail(f"there is no limit {limit!r}", hint="`spanledger limits list` shows them", code=2)
    return dict(client.call("GET", f"/api/limits/{named['id']}")[1])


def _fields(
    amount: str | None, measure: str | None, window: str | None, zone: str | None, select: list[str] | None,
    per: list[str] | None, soft: bool | None, set_: list[str] | None, reason: str | None,
) -> dict[str, Any]:  # fmt: skip
    given: dict[str, Any] = {"amount": amount, "measure": measure, "window": window, "per": per, "reason": reason}
    if window is not None and zone is not None:
        given["window"] = {"kind": "calendar", "unit": window, "zone": zone}
    if select:
        given["selectors"] = _lists(select)
    if soft is not None:
        given |= {"hard": not soft, "action": None}
    for pair in set_ or ():
        name, value = _pair(pair)
        try:
            given[name] = as_text.loads(value)
        except ValueError:
            given[name] = value
    return {name: value for name, value in given.items() if value is not None or name == "action"}


def _lists(pairs: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, value = _pair(pair)
        found.setdefault(name, []).append(value)
    return found


def _pairs(pairs: list[str] | None) -> dict[str, str]:
    return dict(_pair(pair) for pair in pairs or ())


def _pair(pair: str) -> tuple[str, str]:
    from spanledger.cli.say import fail

    name, equals, value = pair.partition("=")
    if not equals:
        fail(f"{pair!r} is not NAME=VALUE", code=2)
    return name, value


def _moment(text: str | None) -> str | None:
    """A day alone is its midnight in UTC."""
    return f"{text}T00:00:00Z" if text and len(text) == 10 else text


def _said(limit: dict[str, Any], json: bool, done: str) -> None:
    typer.echo(as_text.dumps(limit, indent=2) if json else f"{done} {limit['name']} ({limit['id']}): {_amount(limit, 'used')} of "
               f"{_amount(limit, 'amount')} used, {_window(limit)}, {limit['scope']}")  # fmt: skip


def _amount(limit: dict[str, Any], field: str) -> str:
    return _in(limit, limit[field])


def _in(limit: dict[str, Any], amount: str) -> str:
    if limit["measure"] != "cost_usd":
        return f"{int(amount):,}"
    whole, _, rest = amount.partition(".")
    return f"${int(whole):,}.{rest:0<2}"


def _share(one: dict[str, Any]) -> str:
    return "" if one["fraction"] is None else f"{one['fraction']:.0%}"


def _window(limit: dict[str, Any]) -> str:
    from spanledger.limits.window import window_of

    return str(window_of(limit["window"]))


def _kind(limit: dict[str, Any]) -> str:
    kind = ("hard" if limit["hard"] else "soft") + ("" if limit["action"] in ("refuse", "warn") else f", {limit['action']}")
    return kind if limit["enabled"] else "off"
