"""What the commands of `spanledger prices` share: their options, and how they read what is given."""

from pathlib import Path
from typing import Annotated, Any

import typer


def _said(context: typer.Context, option: typer.CallbackParam, given: str) -> str:
    """An option that is given says something: `--model "$UNSET"` is not a rule for every model."""
    if not given.strip() and (source := context.get_parameter_source(option.name or "")) and source.name != "DEFAULT":
        raise typer.BadParameter("is empty; leave the option out if it is not meant")
    return given


def _word(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, callback=_said)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Provider = Annotated[str, _word("--provider", "-p", metavar="NAME", help="Who is paid; * is any.")]
Model = Annotated[str, _word("--model", "-m", metavar="NAME", help="A model; NAME* is every model so beginning.")]
Scope = Annotated[
    str, _word("--scope", metavar="KIND:NAME", help="For whom: tenant:NAME, project:NAME, key:ID or tag:NAME=VALUE.")
]
Rates = Annotated[
    list[str] | None, typer.Option("--rate", metavar="UNIT=USD", help="A rate, such as input_mtok=2.50; give it once per unit.")
]
Multiplier = Annotated[str, _word("--multiplier", metavar="N", help="0.88 is a discount of 12 %.")]
SameAs = Annotated[str, _word("--same-as", metavar="PROVIDER/MODEL", help="Price it as another model (a deployment).")]
Monthly = Annotated[str, _word("--monthly", metavar="USD", help="A fixed cost a month, whatever is used.")]
Tier = Annotated[str, _word("--tier", metavar="NAME", help="Only in this tier: standard, batch, flex, priority …; * is any.")]
ServedBy = Annotated[
    str, typer.Option("--tier", metavar="NAME", help="The tier that serves it: standard, batch, flex, priority …")
]
Region = Annotated[str, _word("--region", metavar="NAME", help="Only in this region.")]
From = Annotated[str, _word("--from", metavar="TIME", help="In force from, as 2026-12-01 or 2026-12-01T08:00:00Z.")]
To = Annotated[str, _word("--to", metavar="TIME", help="In force until.")]
Hours = Annotated[str, _word("--hours", metavar="HH:MM-HH:MM", help="Only in these hours, in UTC.")]
Weekdays = Annotated[str, _word("--weekdays", metavar="DAYS", help="Only on these days, such as sat,sun.")]
Layer = Annotated[str, _word("--layer", metavar="NAME", help="contract, site (for everybody) or default (unknown models).")]
Priority = Annotated[int, typer.Option("--priority", help="Goes before rules of the same rank with a lower one.")]
Note = Annotated[str, typer.Option("--note", "-n", metavar="TEXT", help="Why; it stands in the audit.")]
MayNote = Annotated[str, typer.Option("--note", "-n", metavar="TEXT", help="Why, for --post; it stands in the audit.")]
Accept = Annotated[bool, typer.Option("--accept", help="Take rates that move more than tenfold or to or from zero.")]
Installed = Annotated[bool, typer.Option("--installed", help="The book of the genai-prices that is installed.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", show_default="30 days ago", help="Calls from this time on.")]
Until = Annotated[str, typer.Option("--until", metavar="TIME", show_default="now", help="Calls before this time.")]


def ask(data: Path, method: str, path: str, **asked: Any) -> dict[str, Any]:
    """`price_asking.ask`, imported when it is needed: help is to come at once."""
    from spanledger.cli import price_asking

    return price_asking.ask(data, method, path, **asked)


def ask_all(data: Path, path: str, name: str, **asked: Any) -> dict[str, Any]:
    """`price_asking.ask_all`, imported when it is needed."""
    from spanledger.cli import price_asking

    return price_asking.ask_all(data, path, name, **asked)


def rates_in(given: list[str] | None) -> dict[str, str]:
    from spanledger.cli.say import fail

    rates = {}
    for one in given or ():
        unit, equals, usd = one.partition("=")
        if not equals:
            fail(f"--rate {one}: should read UNIT=USD, such as input_mtok=2.50", code=2)
        if unit in rates:
            fail(f"--rate {one}: {unit} is given twice", code=2)
        rates[unit] = usd
    return rates


def model_in(text: str) -> tuple[str, str]:
    from spanledger.cli.say import fail

    provider, slash, model = text.partition("/")
    if not slash:
        fail(f"{text}: should read PROVIDER/MODEL, such as openai/gpt-4o", code=2)
    return provider, model


def content_of(file: Path) -> bytes:
    import sys

    from spanledger.cli.say import fail

    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
