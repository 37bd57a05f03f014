"""`spanledger inspect`: what each span or log record was taken for, by which rule, and the entries it makes."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spanledger.cli.options import DEFAULT_DATA, Config, Data
from spanledger.cli.say import fail, note


def inspect(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|-|TRACE", help="A file of OTLP (JSON or protobuf), '-' for standard input, or a trace id."),
    ],
    data: Data = DEFAULT_DATA,
    config: Config = None,
    signal: Annotated[
        str | None, typer.Option("--signal", metavar="NAME", help="traces, logs or metrics, where protobuf does not tell.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Show what telemetry is taken for, when a number looks wrong.

    For a file: what it would come to in an empty ledger, at list prices, read as --config says. For a trace id: what the ledger
    has of it, and, for as long as it is kept as evidence, each of its spans; with them what was put with its calls from
    another trace, which is named. Nothing is written.

    \b
    spanledger inspect export.json
    spanledger inspect 4bf92f3577b34da6a3ce929d0e0e4736
    """
    from spanledger.cli.libraries import prepare

    prepare()
    from spanledger.collector.config import ConfigError
    from spanledger.collector.decode.otlp_file import bodies_in
    from spanledger.collector.explain import explain, explain_trace

    if signal not in (None, "traces", "logs", "metrics"):
        fail(f"--signal is traces, logs or metrics, not {signal}", code=2)
    path, trace = Path(source), None
    if source != "-" and not path.exists() and re.fullmatch(r"[0-9a-fA-F]{32}", source):
        trace = source.lower()
        explained = explain_trace(data, trace)
        if explained.records.is_empty() and explained.entries.is_empty():
            fail(f"nothing is known of trace {source}", hint=f"is {data} the right folder? see --data")
    else:
        try:
            content = sys.stdin.buffer.read() if source == "-" else path.read_bytes()
            explained = explain(bodies_in(content, signal), _reading(config))  # type: ignore[arg-type]
            explained.entries = _priced(explained.entries)
        except ConfigError as error:
            fail(str(error), hint="spanledger check-config checks the file", code=2)
        except (OSError, ValueError) as error:
            fail(f"cannot read {source}: {error}", hint="give a file of OTLP, '-' or a trace id of 32 hex digits")
    if as_json:
        import json

        both: dict[str, Any] = {"records": explained.records.to_dicts(), "entries": explained.entries.to_dicts()}
        typer.echo(json.dumps({**both, "seen": explained.seen, "unreadable": explained.unreadable}, default=str))
        return
    _show(explained, trace)


def _reading(config: Path | None) -> Any:
    """Attribution, counting and settled assumptions as the collector would have them."""
    from spanledger.collector.config import load
    from spanledger.collector.explain import Reading

    processors = load(config, os.environ).settings.processors
    return Reading(
        attribution=processors.attribution.made(),
        counting=processors.count_once.made(),
        settled=[row.made() for row in processors.recognise.cached_input],
    )


def _priced(entries: Any) -> Any:
    from spanledger.prices import Prices

    return Prices().price(entries) if entries.height else entries


#: What a rule says of the record that it leaves out.
RULES = {
    "same_response_id": "names the same answer of the provider as what stands for it",
    "same_request_id": "names the same request as what stands for it",
    "same_span": "a log record that was written inside the span of its call",
    "leaf_in_leaf": "tells of a call around another: the inner one is what the provider answered",
    "fingerprint": "agrees in counts, model and time with what another instrumentation of its sender says",
    "repeat": "says again what the call's own record says",
    "never_billed": "an answer that nobody paid for: from a cache, fetched again, or no inference",
    "aggregate": "sums up calls that were counted one by one",
    "metric": "a metric beside spans or logs is only laid beside them",
    "waits": "a sum that waits whether what it sums up still comes",
    "learned_more": "taken back and posted anew with what came later",
}


def _show(explained: Any, trace: str | None) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 200)
    silent = int((explained.records["taken_for"] == "nothing").sum())
    about = f"{explained.records.height - silent} of {explained.seen} records say something about a call"
    records = [
        {
            "record": row["name"] or row["span_id"] or "-", "trace": _trace(row, trace), "dialect": row["dialect"] or "-",
            "taken for": row["taken_for"] or "-", "verdict": row["verdict"], "rule": row["rule"] or "",
            "by": (row["stands_for"] or "")[:8], "model": row["model"] or "", "input": _number(row["input_tokens"]),
            "cached": _number((row["cache_read_tokens"] or 0) + (row["cache_write_tokens"] or 0) or None),
            "output": _number(row["output_tokens"]), "flags": ", ".join(row["flags"] or []),
        }
        for row in explained.records.to_dicts()
    ]  # fmt: skip
    entries = [
        {
            "entry": row["entry_id"][:8], "kind": row["kind"], "trace": _trace(row, trace), "calls": _number(row["calls"]),
            "provider": row["provider"] or "", "model": row["model"] or "", "tenant": row["tenant"] or "",
            "agent": row["agent"] or "", "input": _counted(row, "input_tokens"), "output": _counted(row, "output_tokens"),
            "usd": _usd(row), "rule": row["rule"] or "", "stands for": (row["stands_for"] or "")[:8],
        }
        for row in explained.entries.to_dicts()
    ]  # fmt: skip
    console.print(_table(about, records))
    if entries:
        claims = ", what duplicates claim in brackets" if any("(" in entry["input"] for entry in entries) else ""
        console.print(_table(f"\n{len(entries)} entries{claims}", entries))
    else:
        console.print("\nno entries")
    rules = sorted({row["rule"] for row in (*records, *entries)} & set(RULES))
    if rules:
        console.print("\n" + "\n".join(f" {rule}: {RULES[rule]}" for rule in rules))
    if explained.metrics:
        points = "1 point" if explained.metrics == 1 else f"{explained.metrics:,} points"
        note(f"left out: {points} of metrics of the same senders, which sum up calls of any traces")
    for reason in explained.unreadable:
        note(f"not readable: {reason}")


def _table(title: str, rows: list[dict[str, str]]) -> Any:
    """The rows below their names; columns in which nothing stands are left out."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    said = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    for name in said:
        right = name in ("input", "cached", "output", "calls", "usd")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in said))
    return table


def _trace(row: dict[str, Any], asked: str | None) -> str:
    """The trace of a record or entry: whole where it is another one than was asked for, so that it can be asked for in turn."""
    told: str = row["trace_id"] or ""
    return told[:8] if asked is None else "" if told == asked else told or "-"


def _counted(row: dict[str, Any], name: str) -> str:
    """Tokens that count; in brackets those that a duplicate claims."""
    if row["kind"] == "duplicate":
        claimed = row[f"claimed_{name}"]
        return "" if claimed is None else f"({claimed:,})"
    return _number(row[name])


def _usd(row: dict[str, Any]) -> str:
    if row["kind"] == "duplicate":
        return ""
    cost = row["cost_usd"]
    return str(row["cost_state"] or "") if cost is None else f"{cost:.12f}".rstrip("0").rstrip(".")


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"
