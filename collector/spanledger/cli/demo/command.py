"""`spanledger demo` itself: make calls, deliver a history, and compare what the ledger has with what it must have."""

from typing import TYPE_CHECKING, Annotated

import typer

from spanledger.cli.options import DEFAULT_DATA, Data
from spanledger.cli.say import fail

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress

    from spanledger.cli.addresses import Addresses
    from spanledger.cli.demo.totals import Totals

#: How many calls `demo/calls.py` makes: only the progress bar stands on it.
_LIVE_CALLS = 25
_BATCH = 512
#: After so many looks at a ledger that does not change and a journal that is empty, nothing more will come.
_IDLE_POLLS = 6


def demo(
    data: Data = DEFAULT_DATA,
    days: Annotated[int, typer.Option("--days", min=1, max=365, metavar="N", help="How many days of history to make up.")] = 30,
    calls: Annotated[
        int, typer.Option("--calls", min=1, max=1_000_000, metavar="N", help="About how many calls in them.")
    ] = 30_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed and day make the same history.")] = 1,
    patience: Annotated[
        float, typer.Option("--patience", min=1, metavar="SECONDS", help="How long to wait for the ledger at the end.")
    ] = 120,
) -> None:
    """Fill a running collector with something to see; no provider key is needed.

    The real openai and anthropic SDKs call a stand-in provider on this machine, instrumented by `import spanledger.auto`: plain,
    streamed, asynchronous and refused calls of several tenants, users and agents. Then thirty made-up days are delivered by
    OTLP. At the end stands what the ledger must have, what it has, and whether they agree (exit code 1 if not).

    Run it while `spanledger up` runs. Run it again and it adds to the ledger; it compares only what it added itself.
    """
    from secrets import token_hex

    from rich.console import Console

    from spanledger.cli.addresses import running
    from spanledger.cli.backlog import backlog
    from spanledger.cli.libraries import prepare

    prepare()
    addresses = running(data)
    if addresses is None:
        fail(f"no collector runs over {data}", hint="start one in another terminal: spanledger up (or make up)")
    _require_sdks()
    console = Console()
    run = token_hex(4)
    try:
        wanted = _fill(console, addresses, run, days, calls, seed)
        found = _settled(console, data, run, wanted, patience)
    except KeyboardInterrupt:
        fail("interrupted; what was delivered stays in the ledger")
    if not _compare(console, run, wanted, found):
        aside = backlog(data)
        if aside.set_aside:
            console.print(f"{aside.set_aside} bodies are set aside, unread: {aside.reason}. Which: spanledger journal list")
        raise typer.Exit(1)


def _require_sdks() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("openai", "anthropic") if find_spec(name) is None]
    if missing:
        fail(
            f"the demo calls the real SDKs, and {' and '.join(missing)} is not installed",
            hint="try: pip install 'spanledger[demo]'",
        )


def _fill(console: "Console", addresses: "Addresses", run: str, days: int, calls: int, seed: int) -> "Totals":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from spanledger.cli.demo.delivery import NotDelivered
    from spanledger.cli.demo.totals import Totals

    wanted = Totals()
    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        wanted.add(_live(progress, addresses, run))
        try:
            wanted.add(_history(progress, addresses, run, days, calls, seed))
        except NotDelivered as error:
            fail(str(error))
    return wanted


def _live(progress: "Progress", addresses: "Addresses", run: str) -> "Totals":
    """Calls through the real SDKs, in a process of its own that knows nothing of us but the import line."""
    import json
    import os
    import subprocess
    import sys
    from datetime import datetime

    from spanledger.cli import provider_stand_in
    from spanledger.cli.demo.totals import Totals, expected

    wanted = Totals()
    task = progress.add_task("calls by the openai and anthropic SDKs", total=_LIVE_CALLS)
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{addresses.http}",
        "OTEL_SERVICE_NAME": "spanledger-demo",
        "SPANLEDGER_API": addresses.api,
    }
    with provider_stand_in.start(pause_seconds=0.002, think_seconds=0.01, answered_before=int(run, 16)) as provider:
        application = subprocess.Popen(
            [sys.executable, "-m", "spanledger.cli.demo.calls", provider.url, run],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert application.stdout is not None  # noqa: S101  # it was asked for
        for line in application.stdout:
            told = json.loads(line)
            usage = provider_stand_in.usage_of(told["body"])
            tokens = {} if told["failed"] else {
                "input_tokens": usage.input, "cache_read_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write,
                "output_tokens": usage.output, "reasoning_tokens": usage.reasoning,
            }  # fmt: skip
            at = datetime.fromisoformat(told["at"])
            wanted.add(expected(provider=told["provider"], model=told["model"], at=at, failed=told["failed"], **tokens))
            progress.advance(task)
    if application.wait() != 0:
        fail(f"the application that makes the demo's calls ended with exit code {application.returncode}")
    progress.update(task, total=wanted.calls)
    return wanted


def _history(progress: "Progress", addresses: "Addresses", run: str, days: int, calls: int, seed: int) -> "Totals":
    from datetime import UTC, datetime
    from random import Random

    from spanledger.cli.demo.delivery import Delivery
    from spanledger.cli.demo.history import history
    from spanledger.cli.demo.totals import Totals, expected

    wanted = Totals()
    made = list(history(datetime.now(UTC), days=days, calls=calls, seed=seed, ids=Random(f"{run}")))  # noqa: S311
    task = progress.add_task(f"{days} made-up days by OTLP", total=len(made))
    delivery = Delivery(addresses.http)
    for start in range(0, len(made), _BATCH):
        batch = made[start : start + _BATCH]
        delivery.send(batch, {"demo": run})
        for call in batch:
            wanted.add(
                expected(
                    provider=call.provider,
                    model=call.model,
                    at=call.started,
                    failed=call.error is not None,
                    input_tokens=call.input_tokens,
                    cache_read_tokens=call.cache_read_tokens,
                    cache_write_tokens=call.cache_write_tokens,
                    output_tokens=call.output_tokens,
                    reasoning_tokens=call.reasoning_tokens,
                )
            )
        progress.advance(task, len(batch))
    # An exporter whose acknowledgement got lost sends its batch again; the ledger must not grow by it.
    delivery.send(made[:_BATCH], {"demo": run})
    delivery.close()
    return wanted


def _settled(console: "Console", data: "Path", run: str, wanted: "Totals", patience: float) -> "Totals":
    """What the ledger has of this run, once it has all of its calls, or nothing more is on its way, or patience ends."""
    import time

    from spanledger.analytics.connect import connect
    from spanledger.cli.backlog import backlog
    from spanledger.cli.demo.totals import found
    from spanledger.ledger.connect import refresh

    connection = connect(data)
    until = time.monotonic() + patience
    idle = 0
    with console.status("waiting for the ledger …"):
        has = found(connection, run)
        while has.calls < wanted.calls and time.monotonic() < until and idle < _IDLE_POLLS:
            time.sleep(0.5)
            # The journal first: what has left it is in the ledger that is looked at next.
            waiting = backlog(data).waiting
            refresh(connection)
            before, has = has, found(connection, run)
            idle = idle + 1 if not waiting and has == before else 0
    return has


def _compare(console: "Console", run: str, wanted: "Totals", found: "Totals") -> bool:
    from dataclasses import fields
    from decimal import Decimal

    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=f"run {run}", title_justify="left")
    table.add_column("")
    for heading in ("expected", "in the ledger"):
        table.add_column(heading, justify="right")
    table.add_column("agree")
    agree = True
    for field in fields(wanted):
        want, have = getattr(wanted, field.name), getattr(found, field.name)
        same = want == have
        agree = agree and same
        shown = [f"{value:,.12f}".rstrip("0") if isinstance(value, Decimal) else f"{value:,}" for value in (want, have)]
        table.add_row(field.name.replace("_", " "), *shown, "[green]yes[/green]" if same else "[red]no[/red]")
    console.print(table)
    console.print(
        "The ledger agrees with what was sent, to the last digit."
        if agree
        else "[red]The ledger does not agree with what was sent.[/red] What arrived: spanledger doctor"
    )
    return agree
