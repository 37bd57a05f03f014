"""The table of commands: one line each, in the order in which `spanledger --help` shows them.

A command's module imports only typer and the standard library at its top: `--help` imports all of them.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from spanledger.cli import (
    backup,
    check,
    check_config,
    dashboard,
    doctor,
    inspect,
    journal,
    keys,
    limits,
    pause,
    prices,
    serve,
    sql,
    tiers,
    up,
)
from spanledger.cli.demo import command as demo

app = typer.Typer(
    name="spanledger",
    help="The ledger of what you spend on language models: OpenTelemetry in, each call counted once and priced exactly.",
    epilog="Start with: spanledger up",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("up", short_help="Start the collector and the dashboard.")(up.up)
app.command("demo", short_help="Fill a running collector with something to see.")(demo.demo)
app.command("sql", short_help="Run SQL over the ledger.")(sql.sql)
app.add_typer(limits.app, name="limits", short_help="See, add, change and try limits.")
app.add_typer(tiers.app, name="tiers", short_help="See tiers of limits, move somebody to another.")
app.add_typer(prices.app, name="prices", short_help="Prices, contracts, re-rating, comparison.")
app.command("check", short_help="Ask whether a call may go ahead.")(check.check)
app.add_typer(pause.app, name="pause", short_help="Pause a subject, resume it.")
app.add_typer(keys.app, name="keys", short_help="Make and revoke API keys.")
app.command("inspect", short_help="Say what telemetry was taken for, and why.")(inspect.inspect)
app.command("doctor", short_help="Say what is wrong with an installation.")(doctor.doctor)
app.command("backup", short_help="Copy everything while the collector runs.")(backup.backup)
app.command("restore", short_help="Put a backup back.")(backup.restore)
app.command("repair", short_help="Go on without damaged files of the ledger.")(backup.repair)
app.command("serve", short_help="Run the collector and its API alone.")(serve.serve)
app.command("dashboard", short_help="Show the dashboard alone.")(dashboard.dashboard)
app.command("check-config", short_help="Check a configuration file.")(check_config.check_config)
app.add_typer(journal.app, name="journal", short_help="See and retry what could not be read.")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spanledger {version('spanledger')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass
