"""`spanledger dashboard`: the pages alone, over the ledger of a running collector or of one that is down."""

from typing import Annotated

import typer

from spanledger.cli.options import DEFAULT_DATA, Data
from spanledger.cli.say import fail


def dashboard(
    data: Data = DEFAULT_DATA,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="0 picks a free one and prints it.")] = 8501,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    api: Annotated[
        str,
        typer.Option("--api", metavar="URL", show_default="of the collector over --data", help="The collector's API."),
    ] = "",
) -> None:
    """Show the dashboard in a browser.

    It reads the ledger's files directly, so it works without a collector and on another machine; limits are shown and changed
    through the API.
    """
    try:
        from spanledger.dashboard import PortInUse, run
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed", hint="try: pip install 'spanledger[dashboard]'")
    try:
        run(data=data, port=port, host=host, api=api)
    except (PortInUse, ImportError) as error:
        fail(str(error))
