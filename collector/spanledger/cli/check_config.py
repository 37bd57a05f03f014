"""`spanledger check-config`: whether a configuration file would start, without starting anything."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from spanledger.cli.say import fail


def check_config(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The configuration.")] = Path("otel-config.yaml"),
) -> None:
    """Check a configuration file and name the first thing that is wrong with it, and its key.

    Leaves with 0 when the collector would start with it, with 1 when not. Ports in use and folders that cannot be written are
    found by the start itself, or by `spanledger doctor`.
    """
    from spanledger.collector.config import ConfigError, load
    from spanledger.limits import LimitError
    from spanledger.limits.rows import configured
    from spanledger.limits.terms import configured_tiers

    if not file.exists():
        fail(f"{file} does not exist", hint="name the file: spanledger check-config FILE", code=2)
    try:
        loaded = load(file, os.environ, data=None, grpc_port=None, http_port=None, api_port=None)
        configured_tiers(loaded.settings.extensions.tiers)
        for place, fields in enumerate(loaded.settings.extensions.limits):
            configured(place, fields, datetime.now(UTC))
    except ConfigError as error:
        fail(str(error))
    except LimitError as error:
        fail(f"{file}: extensions.{error}")
    typer.echo(f"{file} is good")
