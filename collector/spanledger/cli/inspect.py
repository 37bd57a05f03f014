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


def _show(explained: Any, trace: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    silent = int((explained.records["taken_for"] == "nothing").sum())
    about = f"{explained.records.height - silent} of {explained.seen} records say something about a call"
    records = Table(title=about, title_justify="left", box=None)
    for name in (
        "record",
        "trace",
        "dialect",
        "taken for",
        "verdict",
        "rule",
        "by",
        "model",
        "input",
        "cached",
        "output",
        "flags",
    ):
        records.add_column(name, justify="right" if name in ("input", "cached", "output") else "left", overflow="fold")
    for row in explained.records.to_dicts():
        cached = (row["cache_read_tokens"] or 0) + (row["cache_write_tokens"] or 0)
        records.add_row(
            row["name"] or row["span_id"] or "-", _trace(row, trace), row["dialect"] or "-", row["taken_for"] or "-",
            row["verdict"], row["rule"] or "", (row["stands_for"] or "")[:8], row["model"] or "", _number(row["input_tokens"]),
            _number(cached or None), _number(row["output_tokens"]), ", ".join(row["flags"] or []),
        )  # fmt: skip
    console.print(records)
    entries = Table(title=f"\n{explained.entries.height} entries", title_justify="left", box=None)
    for name in (
        "entry",
        "kind",
        "trace",
        "calls",
        "provider",
        "model",
        "tenant",
        "agent",
        "input",
        "output",
        "usd",
        "rule",
        "stands for",
    ):
        entries.add_column(name, justify="right" if name in ("calls", "input", "output", "usd") else "left", overflow="fold")
    for row in explained.entries.to_dicts():
        entries.add_row(
            row["entry_id"][:8], row["kind"], _trace(row, trace), _number(row["calls"]), row["provider"] or "",
            row["model"] or "", row["tenant"] or "", row["agent"] or "", _number(row["input_tokens"]),
            _number(row["output_tokens"]), "" if row["cost_usd"] is None else f"{row['cost_usd']:f}", row["rule"] or "",
            (row["stands_for"] or "")[:8],
        )  # fmt: skip
    console.print(entries)
    for reason in explained.unreadable:
        note(f"not readable: {reason}")


def _trace(row: dict[str, Any], asked: str | None) -> str:
    """The trace of a record or entry: whole where it is another one than was asked for, so that it can be asked for in turn."""
    told: str = row["trace_id"] or ""
    return told[:8] if asked is None else "" if told == asked else told or "-"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"
