"""The `spanledger` command. One file per command; what a command needs is imported when it runs."""

import gc
import sys


def main() -> None:
    """The entry point of the console script."""
    # Imports make objects by the hundred thousand and hardly any garbage: looking for it at Python's own thresholds took 0.3 s
    # of the 2.2 s of CPU that a collector's start takes.
    gc.set_threshold(50_000, 20, 50)
    try:
        from spanledger.cli.commands import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"{error.name} is not installed; try: pip install 'spanledger[all]'")
    app()
