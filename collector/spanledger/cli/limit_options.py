"""What the commands of `spanledger limits` share: their options, and how what is given becomes the fields of a limit."""

import json as as_text
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Name = Annotated[str, typer.Argument(metavar="LIMIT", help="The limit's name or id.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it stands in the audit.")]
Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="DIM=VALUE",
        help="Whom it covers: tenant=acme, model=gpt-*, tag.team=red. Repeat it for several values.",
    ),
]
Per = Annotated[list[str] | None, typer.Option("--per", metavar="DIM", help="A bucket for each value of it. Repeatable.")]
Window = Annotated[
    str | None, typer.Option("--window", metavar="W", help='hour, day, week, month, quarter, year, "rolling 1h" or lifetime.')
]
Zone = Annotated[
    str | None, typer.Option("--zone", metavar="ZONE", help="Whose days and months: an IANA zone. When adding, UTC unless given.")
]
Amount = Annotated[str | None, typer.Option("--amount", metavar="N", help="Dollars, tokens or requests.")]
Measure = Annotated[
    str | None, typer.Option("--measure", metavar="M", help="cost_usd, tokens, input_tokens, output_tokens or requests.")
]
Soft = Annotated[bool | None, typer.Option("--soft/--hard", help="Warn only, or refuse. When adding, hard unless given.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any other field of docs/limits.md, its value as JSON or text: hold=learned, grace=0.1; null takes it away.",
    ),
]


#: Windows that begin and end by the clocks of a zone.
CALENDAR = ("hour", "day", "week", "month", "quarter", "year")


def fields_of(
    amount: str | None, measure: str | None, window: str | None, zone: str | None, select: list[str] | None,
    per: list[str] | None, soft: bool | None, set_: list[str] | None, reason: str | None, before: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`before` is the window of a limit that is changed: a calendar's unit and zone stay unless they are given."""
    given = {"amount": amount, "measure": measure, "window": _window(window, zone, before), "per": per, "reason": reason}
    given = {name: value for name, value in given.items() if value is not None}
    if select:
        otherwise = """--set 'selectors={"dimension": ["value"]}'"""
        given["selectors"] = lists_of(select, "--select ", otherwise=otherwise)
    if soft is not None:
        given |= {"hard": not soft, "action": None}
    for pair in set_ or ():
        name, value = _pair(pair)
        try:
            given[name] = as_text.loads(value)
        except ValueError:
            given[name] = value
    return given


def _window(window: str | None, zone: str | None, before: dict[str, Any] | None) -> Any:
    was = before if before is not None and before["kind"] == "calendar" else None
    if window in CALENDAR and (zone or was):
        kept = was if was is not None and was["unit"] == window else {}
        return {**kept, "kind": "calendar", "unit": window, "zone": zone or (was or {})["zone"]}
    if zone is not None and window is None and was is not None:
        return was | {"zone": zone}
    if zone is not None:
        from spanledger.cli.say import fail

        fail(f"--zone is for windows of the calendar ({', '.join(CALENDAR)}): give one with --window", code=2)
    return window


def lists_of(pairs: list[str], option: str = "", *, otherwise: str) -> dict[str, list[str]]:
    """Dimension → values, each given as a pair of its own; `otherwise` says how a value with a comma in it is given."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, value = _pair(pair)
        if "," in value:
            from spanledger.cli.say import fail

            fail(
                f"one value at a time, and {pair!r} has a comma in it",
                hint=f"several values: {' '.join(f'{option}{name}={one}' for one in value.split(','))}; "
                f"one with a comma in it: {otherwise}",
                code=2,
            )
        found.setdefault(name, []).append(value)
    return found


def pairs_of(pairs: list[str] | None) -> dict[str, str]:
    return dict(_pair(pair) for pair in pairs or ())


def _pair(pair: str) -> tuple[str, str]:
    from spanledger.cli.say import fail

    name, equals, value = pair.partition("=")
    if not equals:
        fail(f"{pair!r} is not NAME=VALUE", code=2)
    return name, value


def moment_of(text: str | None) -> str | None:
    """A day alone is its midnight in UTC."""
    return f"{text}T00:00:00Z" if text and len(text) == 10 else text
