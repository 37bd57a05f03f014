"""`spanledger prices`, about calls: those without a price, re-rating, and questions before a call."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spanledger.cli.options import DEFAULT_DATA, Data
from spanledger.cli.price_options import AsJson, MayNote, Scope, ServedBy, Since, Until, ask, ask_all, content_of


def unpriced(since: Since = "", until: Until = "", data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """List the calls that have no price, by the names that telemetry gave."""
    from spanledger.cli.price_tables import print_unpriced

    print_unpriced(ask_all(data, "/unpriced", "unpriced", query={"since": since, "until": until}), json)


def reported(since: Since = "", until: Until = "", data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """List the models whose reported cost is far from the list price."""
    from spanledger.cli.price_tables import print_reported

    print_reported(ask_all(data, "/reported", "reported", query={"since": since, "until": until}), json)


def rerate(
    since: Since = "",
    until: Until = "",
    provider: Annotated[str, typer.Option("--provider", "-p", metavar="NAME", help="Only this provider.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="Only this model, as telemetry spells it.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", help="Only this tenant.")] = "",
    unpriced: Annotated[bool, typer.Option("--unpriced", help="Only calls of which all or a part has no price.")] = False,
    post: Annotated[bool, typer.Option("--post", help="Post the difference; without it, only show it.")] = False,
    note: MayNote = "",
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Price past calls anew by the prices now in force: a preview, and with --post adjustments in one commit."""
    from spanledger.cli.price_tables import print_rerating

    body = {
        "since": since, "until": until, "provider": provider, "model": model, "tenant": tenant, "unpriced_only": unpriced,
        "post": post, "note": note,
    }  # fmt: skip
    print_rerating(ask(data, "POST", "/rerate", body={name: value for name, value in body.items() if value != ""}), json)


def monthly(data: Data = DEFAULT_DATA) -> None:
    """Post what is due of fixed monthly costs, up to today. Doing it again posts nothing."""
    typer.echo(f"{ask(data, 'POST', '/monthly')['posted']} entries posted")


def tokens(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text; - is standard input.")],
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="For this model.")] = "",
) -> None:
    """Count the tokens of a text, offline."""
    from spanledger.prices.tokens import count_tokens

    found = count_tokens(content_of(file).decode("utf-8", "replace"), model)
    typer.echo(f"{found.tokens} tokens ({found.least} to {found.most}, by {found.method})")


def compare(
    input_tokens: Annotated[int, typer.Option("--input", "-i", min=0, help="Input tokens.")] = 1000,
    output_tokens: Annotated[int, typer.Option("--output", "-o", min=0, help="Output tokens.")] = 500,
    cached: Annotated[int, typer.Option("--cached", min=0, help="Of the input: read from a cache.")] = 0,
    models: Annotated[list[str] | None, typer.Option("--model", "-m", metavar="PROVIDER/MODEL", help="Only these.")] = None,
    abilities: Annotated[list[str] | None, typer.Option("--can", metavar="WORD", help="tools, vision, reasoning, json …")] = None,
    context_window: Annotated[int, typer.Option("--window", min=0, help="At least so large a context window.")] = 0,
    tier: ServedBy = "",
    scope: Scope = "",
    top: Annotated[int, typer.Option("--top", min=1, help="So many.")] = 20,
    instead: Annotated[bool, typer.Option("--instead", help="My own calls of the last 30 days on the given models.")] = False,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Compare what a call costs across models, the cheapest first; or, with --instead, one's own traffic."""
    from spanledger.cli.price_tables import print_compared, print_instead
    from spanledger.cli.say import fail

    if instead:
        print_instead(ask(data, "POST", "/instead", body={"models": models or []}), json)
        return
    if cached > input_tokens:
        fail(f"--cached {cached}: is more than the {input_tokens} of --input, of which it is a part", code=2)
    body: dict[str, Any] = {
        "input_tokens": input_tokens, "output_tokens": output_tokens, "cache_read_tokens": cached, "top": top,
        "abilities": abilities or [], "context_window": context_window, "service_tier": tier, "scope": scope, "models": models,
    }  # fmt: skip
    print_compared(ask(data, "POST", "/compare", body=body), json)
