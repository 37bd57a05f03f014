"""`spanledger doctor`: what is wrong with an installation, and what to do about each thing."""

import json as as_text
import os
from dataclasses import asdict
from typing import Annotated

import typer

from spanledger.cli.options import DEFAULT_DATA, Config, Data


def doctor(
    data: Data = DEFAULT_DATA,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="The findings as a JSON array.")] = False,
) -> None:
    """Look at an installation and say what is wrong: versions, disk, ports, the ledger, whether telemetry has arrived and when.

    Changes nothing, and works whether the collector runs or not. Leaves with 1 when something is wrong (✗); what is only worth
    knowing (!) does not count.
    """
    from spanledger.cli.findings import look
    from spanledger.cli.libraries import prepare

    prepare()

    findings = look(data, config)
    if json:
        typer.echo(as_text.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        colours = {"good": typer.colors.GREEN, "note": typer.colors.YELLOW, "wrong": typer.colors.RED}
        marks = {"good": "✓", "note": "!", "wrong": "✗"}
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            typer.echo(
                f"{typer.style(marks[finding.state], fg=colours[finding.state])} {finding.subject:<{width}}  {finding.says}"
            )
            if finding.do:
                typer.echo(f"  {'':<{width}}  → {finding.do}")
        if data != DEFAULT_DATA and "SPANLEDGER_DATA" not in os.environ and any("spanledger " in each.do for each in findings):
            typer.echo(f"\nThe commands above take the same folder: --data {data}")
    raise typer.Exit(int(any(finding.state == "wrong" for finding in findings)))
