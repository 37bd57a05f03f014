"""What the commands of `spanledger prices` share: their options, and how they read what is given."""

from pathlib import Path
from typing import Annotated, Any

import typer

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
Tier = Annotated[
    str, typer.Option("--tier", metavar="NAME", help="Only in this tier: standard, batch, flex, priority …; * is any.")
]
ServedBy = Annotated[
    str, typer.Option("--tier", metavar="NAME", help="The tier that serves it: standard, batch, flex, priority …")
]
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
