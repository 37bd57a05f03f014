"""`spanledger prices`: what is in force, rules over the books, books from files, and calls priced anew."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spanledger.cli.options import DEFAULT_DATA, Data

app = typer.Typer(
    help="Prices: what is in force, contract rates and discounts, price books, re-rating, and questions before a call.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Provider = Annotated[str, typer.Option("--provider", "-p", metavar="NAME", help="Who is paid; * is any.")]
Model = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="A model; NAME* is every model so beginning.")]
Scope = Annotated[
    str, typer.Option("--scope", metavar="KIND:NAME", help="For whom: tenant:NAME, project:NAME, key:ID or tag:NAME=VALUE.")
]
Rates = Annotated[
    list[str] | None, typer.Option("--rate", metavar="UNIT=USD", help="A rate, such as input_mtok=2.50; give it once per unit.")
]
Multiplier = Annotated[str, typer.Option("--multiplier", metavar="N", help="0.88 is a discount of 12 %.")]
SameAs = Annotated[str, typer.Option("--same-as", metavar="PROVIDER/MODEL", help="Price it as another model (a deployment).")]
Monthly = Annotated[str, typer.Option("--monthly", metavar="USD", help="A fixed cost a month, whatever is used.")]
Tier = Annotated[str, typer.Option("--tier", metavar="NAME", help="standard, batch, flex, priority … or *.")]
Region = Annotated[str, typer.Option("--region", metavar="NAME", help="Only in this region.")]
From = Annotated[str, typer.Option("--from", metavar="TIME", help="In force from, as 2026-12-01 or 2026-12-01T08:00:00Z.")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="In force until.")]
Hours = Annotated[str, typer.Option("--hours", metavar="HH:MM-HH:MM", help="Only in these hours, in UTC.")]
Weekdays = Annotated[str, typer.Option("--weekdays", metavar="DAYS", help="Only on these days, such as sat,sun.")]
Layer = Annotated[
    str, typer.Option("--layer", metavar="NAME", help="contract, site (for everybody) or default (unknown models).")
]
Priority = Annotated[int, typer.Option("--priority", help="Goes before rules of the same rank with a lower one.")]
Note = Annotated[str, typer.Option("--note", "-n", metavar="TEXT", help="Why; it stands in the audit.")]
Installed = Annotated[bool, typer.Option("--installed", help="The book of the genai-prices that is installed.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", show_default="30 days ago", help="Calls from this time on.")]
Until = Annotated[str, typer.Option("--until", metavar="TIME", show_default="now", help="Calls before this time.")]


@app.command("list")
def list_(data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """List the rules in force and the books under them."""
    from spanledger.cli.price_tables import print_rules

    print_rules(_ask(data, "GET", ""), json)


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="PROVIDER/MODEL", help="As `prices list` names it.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="At this moment; all of time when not given.")] = "",
    tier: Tier = "",
    region: Region = "",
    scope: Scope = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Show what is in force for a model."""
    from spanledger.cli.price_tables import print_model

    provider, name = _model(model)
    query = {"provider": provider, "model": name, "at": _time(at), "service_tier": tier, "region": region, "scope": scope}
    print_model(_ask(data, "GET", "/show", query=query), json)


@app.command("set")
def set_(
    provider: Provider = "*",
    model: Model = "*",
    rate: Rates = None,
    multiplier: Multiplier = "",
    same_as: SameAs = "",
    monthly: Monthly = "",
    scope: Scope = "",
    tier: Tier = "",
    region: Region = "",
    valid_from: From = "",
    valid_to: To = "",
    hours: Hours = "",
    weekdays: Weekdays = "",
    layer: Layer = "contract",
    priority: Priority = 0,
    note: Note = "",
    supersede: Annotated[
        str, typer.Option("--supersede", metavar="RULE", help="Take the place of this rule from --from on.")
    ] = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Put a rule in force: rates, a multiplier, another model's price, or a fixed monthly cost. For all time, or --from."""
    from spanledger.cli.price_tables import print_made

    form = {
        "layer": layer, "scope": scope, "provider": provider, "model": model, "tier": tier, "region": region,
        "valid_from": valid_from, "valid_to": valid_to, "hours": hours, "weekdays": weekdays, "rates": _rates(rate),
        "multiplier": multiplier, "same_as": same_as, "monthly_usd": monthly, "priority": priority, "note": note,
        "reason": note, "supersede": supersede,
    }  # fmt: skip
    print_made(_ask(data, "POST", "", body={name: value for name, value in form.items() if value not in ("", None, {})}), json)


@app.command()
def schedule(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule that is in force until then.")],
    valid_from: From,
    rate: Rates = None,
    multiplier: Multiplier = "",
    note: Note = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Let a rule change on a day: what was in force before stays as it was."""
    from spanledger.cli.price_tables import print_made

    was = _ask(data, "GET", f"/{rule}")
    form = {name: was[name] for name in _CARRIED if was.get(name) not in (None, "", {})}
    if rate:
        form = {**form, "rates": {**was.get("rates", {}), **_rates(rate)}}
    if multiplier:
        form["multiplier"] = multiplier
    form |= {"valid_from": valid_from, "note": note or was.get("note", ""), "reason": note, "supersede": rule}
    print_made(_ask(data, "POST", "", body=form), json)


@app.command()
def end(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id, as `prices list` shows it.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", show_default="now", help="When it ends.")] = "",
    note: Note = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Let a rule end."""
    from datetime import UTC, datetime

    from spanledger.cli.price_tables import print_made

    ends = at or datetime.now(UTC).isoformat()
    print_made(_ask(data, "PATCH", f"/{rule}", body={"valid_to": ends, "reason": note}), json)


@app.command()
def history(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id.")], data: Data = DEFAULT_DATA, json: AsJson = False
) -> None:
    """Show a rule and all it came from, with who changed it and why."""
    from spanledger.cli.price_tables import print_history

    print_history(_ask(data, "GET", f"/{rule}/history"), json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rules as `export` writes them, or a price book.")],
    version: Annotated[str, typer.Option("--version", metavar="TEXT", help="What to call this state of a book.")] = "",
    accept: Annotated[bool, typer.Option("--accept", help="Take rates that move more than tenfold or to or from zero.")] = False,
    note: Note = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Use a price book (genai-prices', LiteLLM's or models.dev's JSON), or put exported rules in force."""
    from spanledger.cli.price_tables import print_difference, print_imported

    content = _content(file)
    rules = _exported(content)
    if rules is not None:
        print_imported(_ask(data, "POST", "", body={"rules": rules}), json)
        return
    query = {"version": version, "accept": accept, "reason": note}
    print_difference(_ask(data, "POST", "/books", body=content, query=query), json)


@app.command()
def export(data: Data = DEFAULT_DATA) -> None:
    """Write the rules in force as JSON, for `import`."""
    from json import dumps

    rules = [
        {name: rule[name] for name in _FORM if rule.get(name) not in (None, "", {}, "*")}
        for rule in _ask(data, "GET", "")["rules"]
    ]
    typer.echo(dumps({"spanledger_price_rules": rules}, indent=2))


@app.command()
def diff(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="genai-prices', LiteLLM's or models.dev's JSON.")] = None,
    installed: Installed = False,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Say how a price book differs from the one in use, and change nothing."""
    from spanledger.cli.price_tables import print_difference
    from spanledger.cli.say import fail

    if (file is None) != installed:
        fail("give a FILE, or --installed", code=2)
    content = None if file is None else _content(file)
    print_difference(_ask(data, "POST", "/books/diff", body=content, query={"installed": installed}), json)


@app.command()
def update(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where to fetch it from instead: a mirror.")] = "",
    installed: Installed = False,
    accept: Annotated[bool, typer.Option("--accept", help="Take rates that move more than tenfold or to or from zero.")] = False,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Fetch the newest data of genai-prices from its repository and use it. Nothing else here goes to the network."""
    from spanledger.cli.price_tables import print_difference
    from spanledger.cli.say import fail
    from spanledger.prices.fetch import NotFetched, fetched

    if installed:
        query = {"installed": True, "accept": accept, "reason": "installed"}
        return print_difference(_ask(data, "POST", "/books", query=query), json)
    try:
        content, version = fetched(url)
    except NotFetched as error:
        fail(str(error), hint="download the file elsewhere and use `spanledger prices import FILE`")
    query = {"version": version, "accept": accept, "reason": "fetched"}
    return print_difference(_ask(data, "POST", "/books", body=content, query=query), json)


@app.command()
def unpriced(since: Since = "", until: Until = "", data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """List the calls that have no price, by the names that telemetry gave."""
    from spanledger.cli.price_tables import print_unpriced

    print_unpriced(_ask(data, "GET", "/unpriced", query={"since": _time(since), "until": _time(until)}), json)


@app.command()
def reported(since: Since = "", until: Until = "", data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """List the models whose reported cost is far from the list price."""
    from spanledger.cli.price_tables import print_reported

    print_reported(_ask(data, "GET", "/reported", query={"since": _time(since), "until": _time(until)}), json)


@app.command()
def rerate(
    since: Since = "",
    until: Until = "",
    provider: Annotated[str, typer.Option("--provider", "-p", metavar="NAME", help="Only this provider.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="Only this model, as telemetry spells it.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", help="Only this tenant.")] = "",
    unpriced: Annotated[bool, typer.Option("--unpriced", help="Only calls that have no price.")] = False,
    post: Annotated[bool, typer.Option("--post", help="Post the difference; without it, only show it.")] = False,
    note: Note = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Price past calls anew by the prices now in force: a preview, and with --post adjustments in one commit."""
    from spanledger.cli.price_tables import print_rerating

    body = {
        "since": since, "until": until, "provider": provider, "model": model, "tenant": tenant, "unpriced_only": unpriced,
        "post": post, "reason": note,
    }  # fmt: skip
    print_rerating(_ask(data, "POST", "/rerate", body={name: value for name, value in body.items() if value != ""}), json)


@app.command()
def monthly(data: Data = DEFAULT_DATA) -> None:
    """Post what is due of fixed monthly costs, up to today. Doing it again posts nothing."""
    typer.echo(f"{_ask(data, 'POST', '/monthly')['posted']} entries posted")


@app.command()
def tokens(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text; - is standard input.")],
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="For this model.")] = "",
) -> None:
    """Count the tokens of a text, offline."""
    from spanledger.prices.tokens import count_tokens

    found = count_tokens(_content(file).decode("utf-8", "replace"), model)
    typer.echo(f"{found.tokens} tokens ({found.least} to {found.most}, by {found.method})")


@app.command()
def compare(
    input_tokens: Annotated[int, typer.Option("--input", "-i", min=0, help="Input tokens.")] = 1000,
    output_tokens: Annotated[int, typer.Option("--output", "-o", min=0, help="Output tokens.")] = 500,
    cached: Annotated[int, typer.Option("--cached", min=0, help="Of the input: read from a cache.")] = 0,
    models: Annotated[list[str] | None, typer.Option("--model", "-m", metavar="PROVIDER/MODEL", help="Only these.")] = None,
    abilities: Annotated[list[str] | None, typer.Option("--can", metavar="WORD", help="tools, vision, reasoning, json …")] = None,
    context_window: Annotated[int, typer.Option("--window", min=0, help="At least so large a context window.")] = 0,
    tier: Tier = "",
    scope: Scope = "",
    top: Annotated[int, typer.Option("--top", min=1, help="So many.")] = 20,
    instead: Annotated[bool, typer.Option("--instead", help="My own calls of the last 30 days on the given models.")] = False,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Compare what a call costs across models, the cheapest first; or, with --instead, one's own traffic."""
    from spanledger.cli.price_tables import print_compared, print_instead

    if instead:
        print_instead(_ask(data, "POST", "/instead", body={"models": models or []}), json)
        return
    body: dict[str, Any] = {
        "input_tokens": input_tokens, "output_tokens": output_tokens, "cache_read_tokens": cached, "top": top,
        "abilities": abilities or [], "context_window": context_window, "service_tier": tier or None, "scope": scope,
    }  # fmt: skip
    if models:
        body["models"] = models
    print_compared(_ask(data, "POST", "/compare", body=body), json)


_FORM = (
    "layer", "scope", "provider", "model", "tier", "region", "valid_from", "valid_to", "hours", "weekdays", "over_tokens",
    "upto_tokens", "rates", "multiplier", "same_as", "monthly_usd", "priority", "note",
)  # fmt: skip
_CARRIED = tuple(name for name in _FORM if name not in ("valid_from", "note"))


def _ask(data: Path, method: str, path: str, **asked: Any) -> dict[str, Any]:
    from spanledger.cli.price_asking import ask

    return ask(data, method, path, **asked)


def _rates(given: list[str] | None) -> dict[str, str]:
    from spanledger.cli.say import fail

    rates = {}
    for one in given or ():
        unit, equals, usd = one.partition("=")
        if not equals:
            fail(f"--rate {one}: should read UNIT=USD, such as input_mtok=2.50", code=2)
        rates[unit] = usd
    return rates


def _model(text: str) -> tuple[str, str]:
    from spanledger.cli.say import fail

    provider, slash, model = text.partition("/")
    if not slash:
        fail(f"{text}: should read PROVIDER/MODEL, such as openai/gpt-4o", code=2)
    return provider, model


def _time(text: str) -> str:
    """A moment with its offset: a bare day is midnight UTC."""
    return f"{text}T00:00:00Z" if len(text) == 10 else text


def _content(file: Path) -> bytes:
    import sys

    from spanledger.cli.say import fail

    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")


def _exported(content: bytes) -> list[dict[str, Any]] | None:
    """The rules in what `export` wrote; None when it is something else."""
    from json import JSONDecodeError, loads

    try:
        parsed = loads(content)
    except (JSONDecodeError, UnicodeDecodeError):
        return None
    return parsed.get("spanledger_price_rules") if isinstance(parsed, dict) else None
