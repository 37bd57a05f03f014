"""`spanledger prices`: what is in force, rules over the books, and books from files. Commands about calls: `price_calls.py`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spanledger.cli.options import DEFAULT_DATA, Data
from spanledger.cli.price_calls import compare, monthly, reported, rerate, tokens, unpriced
from spanledger.cli.price_options import (
    Accept,
    AsJson,
    From,
    Hours,
    Installed,
    Layer,
    Model,
    Monthly,
    Multiplier,
    Note,
    Priority,
    Provider,
    Rates,
    Region,
    SameAs,
    Scope,
    ServedBy,
    Tier,
    To,
    Weekdays,
    ask,
    ask_all,
    content_of,
    model_in,
    rates_in,
)  # fmt: skip

app = typer.Typer(
    help="Prices: what is in force, contract rates and discounts, price books, re-rating, and questions before a call.",
    no_args_is_help=True,
)


@app.command("list")
def list_(data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """List the rules in force and the books under them."""
    from spanledger.cli.price_tables import print_rules

    print_rules(ask_all(data, "", "rules"), json)


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="PROVIDER/MODEL", help="As `prices list` names it.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="At this moment; all of time when not given.")] = "",
    tier: ServedBy = "",
    region: Region = "",
    scope: Scope = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Show what is in force for a model."""
    from spanledger.cli.price_tables import print_model

    provider, name = model_in(model)
    query = {"provider": provider, "model": name, "at": at, "service_tier": tier, "region": region, "scope": scope}
    print_model(ask(data, "GET", "/show", query=query), json)


@app.command("set", short_help="Put a rule in force.")
def set_(
    note: Note,
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
        "valid_from": valid_from, "valid_to": valid_to, "hours": hours, "weekdays": weekdays, "rates": rates_in(rate),
        "multiplier": multiplier, "same_as": same_as, "monthly_usd": monthly, "priority": priority, "note": note,
        "supersede": supersede,
    }  # fmt: skip
    print_made(ask(data, "POST", "", body={name: value for name, value in form.items() if value not in ("", None, {})}), json)


@app.command(short_help="Let a rule change on a day.")
def schedule(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule that is in force until then.")],
    valid_from: From,
    note: Note,
    rate: Rates = None,
    multiplier: Multiplier = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Let a rule change on a day: what was in force before stays as it was."""
    from spanledger.cli.price_tables import print_made
    from spanledger.cli.say import fail

    if not rate and not multiplier:
        fail("nothing changes on that day: give --rate or --multiplier", code=2)
    was = ask(data, "GET", f"/{rule}")
    form = _form(was, "valid_from", "note")
    if rate:
        form = {**form, "rates": {**was.get("rates", {}), **rates_in(rate)}}
    if multiplier:
        form["multiplier"] = multiplier
    form |= {"valid_from": valid_from, "note": note, "supersede": rule}
    print_made(ask(data, "POST", "", body=form), json)


@app.command()
def end(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id, as `prices list` shows it.")],
    note: Note,
    at: Annotated[str, typer.Option("--at", metavar="TIME", show_default="now", help="When it ends.")] = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Let a rule end."""
    from datetime import UTC, datetime

    from spanledger.cli.price_tables import print_made

    ends = at or datetime.now(UTC).isoformat()
    print_made(ask(data, "PATCH", f"/{rule}", body={"valid_to": ends, "note": note}), json)


@app.command()
def history(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id.")], data: Data = DEFAULT_DATA, json: AsJson = False
) -> None:
    """Show a rule and all it came from, with who changed it and why."""
    from spanledger.cli.price_tables import print_history

    print_history(ask_all(data, f"/{rule}/history", "history"), json)


@app.command("import", short_help="Use a price book, or put exported rules in force.")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rules as `export` writes them, or a price book.")],
    version: Annotated[str, typer.Option("--version", metavar="TEXT", help="What to call this state of a book.")] = "",
    accept: Accept = False,
    note: Annotated[
        str, typer.Option("--note", "-n", metavar="TEXT", help="Why; by default the file's name, and rules keep their own.")
    ] = "",
    in_parts: Annotated[
        bool,
        typer.Option("--in-parts", help="More than 1,000 rules, a thousand at a time; what is in force already is left out."),
    ] = False,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Use a price book (genai-prices', LiteLLM's or models.dev's JSON), or put exported rules in force."""
    from spanledger.cli.price_tables import print_difference, print_imported

    content = content_of(file)
    rules = _exported(content)
    if rules is not None:
        print_imported(_put_in_force(data, rules, note or f"imported from {file.name}", in_parts), json)
        return
    query = {"version": version, "accept": accept, "note": note or f"imported from {file.name}"}
    print_difference(ask(data, "POST", "/books", body=content, query=query), json)


@app.command()
def export(data: Data = DEFAULT_DATA) -> None:
    """Write the rules in force as JSON, for `import`."""
    from json import dumps

    rules = [_form(rule) for rule in ask_all(data, "", "rules")["rules"]]
    typer.echo(dumps({"spanledger_price_rules": rules}, indent=2))


@app.command(short_help="Say how a price book differs.")
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
    content = None if file is None else content_of(file)
    print_difference(ask(data, "POST", "/books/diff", body=content, query={"installed": installed}), json)


@app.command(short_help="Fetch genai-prices' newest data.")
def update(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where to fetch it from instead: a mirror.")] = "",
    installed: Installed = False,
    accept: Accept = False,
    note: Annotated[str, typer.Option("--note", "-n", metavar="TEXT", help="Why; by default where it is from.")] = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Fetch the newest data of genai-prices from its repository and use it. Nothing else here goes to the network."""
    from spanledger.cli.price_tables import print_difference
    from spanledger.cli.say import fail
    from spanledger.prices.books.fetch import NotFetched, fetched

    if installed:
        query = {"installed": True, "accept": accept, "note": note or "the book that is installed"}
        return print_difference(ask(data, "POST", "/books", query=query), json)
    try:
        content, version = fetched(url)
    except NotFetched as error:
        fail(str(error), hint="download the file elsewhere and use `spanledger prices import FILE`")
    query = {"version": version, "accept": accept, "note": note or f"fetched from {url or 'the repository'}"}
    return print_difference(ask(data, "POST", "/books", body=content, query=query), json)


def _put_in_force(data: Path, rules: list[dict[str, Any]], note: str, in_parts: bool) -> dict[str, Any]:
    """Put rules in force: all or none, or a thousand at a time, each thousand all or none."""
    from spanledger.cli import say
    from spanledger.collector.pricing.rules import MOST_AT_ONCE

    if len(rules) > MOST_AT_ONCE and not in_parts:
        hint = f"--in-parts puts them in force {MOST_AT_ONCE} at a time, each part all or none"
        say.fail(f"rules: {len(rules)} at once; at most {MOST_AT_ONCE}", hint=hint, code=2)
    done: dict[str, Any] = {"rules": [], "unchanged": 0}
    for start in range(0, max(len(rules), 1), MOST_AT_ONCE):
        part = rules[start : start + MOST_AT_ONCE]
        if in_parts:
            say.note(f"rules {start + 1} to {start + len(part)} of {len(rules)}")
        answer = ask(data, "POST", "", body={"rules": part, "note": note})
        done = {"rules": done["rules"] + answer["rules"], "unchanged": done["unchanged"] + answer["unchanged"]}
    return done


#: What the API says of a rule beside what the rule says.
_ABOUT = frozenset({"id", "author", "created_at", "supersedes", "superseded_at", "state"})


def _form(rule: dict[str, Any], *but: str) -> dict[str, Any]:
    """The form that makes a rule again, without some of its fields."""
    return {name: said for name, said in rule.items() if name not in _ABOUT and name not in but and said != ""}


def _exported(content: bytes) -> list[dict[str, Any]] | None:
    """The rules in what `export` wrote; None when it is something else."""
    from json import JSONDecodeError, loads

    from spanledger.cli.say import fail

    try:
        parsed = loads(content)
    except (JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(parsed, dict) or "spanledger_price_rules" not in parsed:
        return None
    rules = parsed["spanledger_price_rules"]
    if not isinstance(rules, list):
        fail("spanledger_price_rules: should be a list of rules, as `spanledger prices export` writes it", code=2)
    return rules


app.command(short_help="List the calls that have no price.")(unpriced)
app.command(short_help="List where reported costs are far off.")(reported)
app.command(short_help="Price past calls anew.")(rerate)
app.command(short_help="Post what is due of fixed monthly costs.")(monthly)
app.command()(tokens)
app.command(short_help="Compare what a call costs across models.")(compare)
