"""The answers about prices as tables, or as JSON."""

from collections.abc import Iterable, Sequence
from json import dumps
from shlex import join
from typing import Any

import typer

from spanledger.cli.say import note
from spanledger.cli.table import show

Json = dict[str, Any]


def print_rules(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    for book in reversed([book for book in answer["books"] if book["in_use"]]):
        about = f"{book['models']} models, in use since {_day(book['loaded_at'])}, by {book['loaded_by']}"
        note(f"book {book['name']} {book['version']}: {about}, sha256 {book['id']}")
    if answer["waiting"]:
        waits = f"{answer['waiting']['name']} {answer['waiting']['version']}"
        note(f"{waits} is installed and waits to be accepted: `spanledger prices diff --installed` shows what it moves")
    if not answer["rules"]:
        return note("no rules: every price is the book's; `spanledger prices set --help` says how to make one")
    return _table(
        ["rule", "layer", "for", "model", "tier", "says", "from", "to", "state", "by"],
        [
            [r["id"], r.get("layer", ""), r["scope"] or "all", f"{r['provider']}/{r['model']}", r.get("tier", ""), _says(r),
             _day(r.get("valid_from")), _day(r.get("valid_to")), r["state"], r["author"]]
            for r in answer["rules"]
        ],
    )  # fmt: skip


def print_model(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    note(f"priced as {answer['priced_as'] or 'nothing'} ({answer['price_match'] or 'unknown'}), {answer['revision']}")
    heads = ["from", "to", "when", "input tokens", "USD", "rules"]
    return _table(heads, [_cell(cell) for cell in answer["rates"]])


def print_made(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    typer.echo(f"rule {answer['id']}: {answer['provider']}/{answer['model']} {_says(answer)} ({answer['state']})")
    if offer := answer.get("unpriced"):
        note(_offered(offer["calls"]))
        note(f"  spanledger prices rerate {rerate_words(offer['rerate'])}")
        note('and add --post --note "why" to do it')
    if answer.get("notice"):
        note(answer["notice"])
    return None


def _offered(calls: int | None) -> str:
    if calls is None:
        return "many calls have no price, and some of them may have one by it. See what pricing them anew comes to with"
    return f"{calls} {'call' if calls == 1 else 'calls'} without a price, or without one for a part, can have it. See how with"


def rerate_words(asked: Json) -> str:
    """The options of `spanledger prices rerate` for what the API calls by other names."""
    given = [(option, asked[name].removesuffix("T00:00:00Z")) for option, name in _RERATE.items() if name in asked]
    return join(["--unpriced", *(word for pair in given for word in pair)])


_RERATE = {"--since": "since", "--until": "until", "-p": "provider", "-m": "model", "--tenant": "tenant"}


def print_imported(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    typer.echo(f"{len(answer['rules'])} rules are in force now, {answer['unchanged']} were already")
    return None if answer["rules"] else note("nothing has changed")


def print_history(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    rows = [
        [rule["id"], _says(rule), _day(rule.get("valid_from")), _day(rule.get("valid_to")), rule["state"], one["at"], one["who"],
         one["action"], one["why"] or ""]
        for rule in answer["history"] for one in rule["audit"]
    ]  # fmt: skip
    return _table(["rule", "says", "from", "to", "state", "at", "who", "did", "why"], rows)


def print_difference(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    counts = f"{len(answer['added'])} models more, {len(answer['removed'])} fewer, {len(answer['moved'])} rates moved"
    note(counts + (f"; to be looked at: {answer['waits']}" if answer["waits"] else ""))
    rows = [
        *(_move(move) for move in answer["moved"][:200]),
        *([name, "", "", "", "listed", "none", "far" if name in answer["vanished"] else ""] for name in answer["removed"]),
        *([name, "", "", "", "none", "listed", "at zero" if name in answer["free"] else ""] for name in answer["added"][:200]),
    ]
    return _table(["model", "tier", "over", "unit", "was", "now", ""], sorted(rows, key=lambda row: not row[-1]))


def print_unpriced(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    if not answer["unpriced"]:
        return note("every call has its price")
    keys = ("provider", "model", "service_tier", "cost_state", "reason", "calls", "input_tokens", "output_tokens", "last_at")
    return _table(list(keys), [[str(one[key] if one[key] is not None else "") for key in keys] for one in answer["unpriced"]])


def print_reported(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    keys = ("provider", "model", "dialect", "calls", "computed_usd", "reported_usd", "difference_usd", "apart_usd")
    return _table(list(keys), [[str(one[key] if one[key] is not None else "") for key in keys] for one in answer["reported"]])


def print_rerating(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    done = "posted" if answer["posted"] else "not posted: say --post"
    typer.echo(
        f"{answer['calls']} calls, {answer['changed']} change: {answer['old_usd']} → {answer['new_usd']} USD "
        f"({answer['difference_usd']}), {done if answer['changed'] else 'nothing to post'}"
    )
    keys = ("provider", "model", "tenant", "calls", "newly_priced", "old_usd", "new_usd", "difference_usd")
    return _table(list(keys), [[str(line[key] if line[key] is not None else "") for key in keys] for line in answer["lines"]])


def print_compared(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    keys = ("provider", "model", "cost_usd", "cost_state", "context_window", "unfit")
    return _table(list(keys), [[str(one[key] if one[key] is not None else "") for key in keys] for one in answer["models"]])


def print_instead(answer: Json, json: bool) -> None:
    if json:
        return _json(answer)
    note(f"{answer['calls']} calls")
    keys = ("provider", "model", "calls", "does_not_fit", "unpriced", "was_usd", "would_be_usd", "difference_usd")
    return _table(list(keys), [[str(one[key]) for key in keys] for one in answer["models"]])


def _json(answer: Json) -> None:
    typer.echo(dumps(answer, indent=2, ensure_ascii=False))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    found = list(rows)
    if found:
        show(heads, found, right=[place for place, head in enumerate(heads) if head in _NUMBERS])


_NUMBERS = frozenset(
    {
        "calls", "input_tokens", "output_tokens", "cost_usd", "computed_usd", "reported_usd", "difference_usd", "old_usd",
        "new_usd", "newly_priced", "was_usd", "would_be_usd", "context_window", "does_not_fit", "unpriced", "was", "now", "over",
    }
)  # fmt: skip


def _cell(cell: Json) -> list[str]:
    rates = cell.get("unpriced") or ", ".join(f"{unit} {usd}" for unit, usd in cell["rates"].items())
    dates = [_day(cell.get("valid_from")), _day(cell.get("valid_to"))]
    return [*dates, _when(cell), _size(cell), rates, ", ".join(cell.get("rules", ()))]


def _move(move: Json) -> list[str]:
    where = [f"{move['provider']}/{move['model']}", move["tier"], str(move["over_tokens"] or ""), move["unit"]]
    return [*where, move["was"] or "none", move["now"] or "none", "far" if move["large"] else ""]


def _says(rule: Json) -> str:
    if rule.get("multiplier"):
        return f"× {rule['multiplier']}"
    if rule.get("same_as"):
        return f"as {rule['same_as']}"
    if rule.get("monthly_usd"):
        return f"{rule['monthly_usd']} a month"
    return ", ".join(f"{unit} {usd}" for unit, usd in rule.get("rates", {}).items())


def _day(at: str | None) -> str:
    if not at:
        return ""
    return at[:10] if "T00:00:00" in at else at[:16]


def _when(cell: Json) -> str:
    return " ".join(cell[name] for name in ("weekdays", "hours") if name in cell)


def _size(cell: Json) -> str:
    over, upto = cell.get("over_tokens"), cell.get("upto_tokens")
    return " ".join([f"over {over}" if over is not None else "", f"up to {upto}" if upto is not None else ""]).strip()
