"""The `spanledger` command. One file per command; what a command needs is imported when it runs."""

import sys


def main() -> None:
    """The entry point of the console script."""
    try:
        from spanledger.cli.commands import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"{error.name} is not installed; try: pip install 'spanledger[all]'")
    app()
