"""`python -m spanledger.dashboard`: the dashboard as a process of its own."""

import argparse
import sys
from pathlib import Path

from spanledger.dashboard.start import PortInUse, run


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and become the server; one sentence on stderr and exit code 1 when that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m spanledger.dashboard", description="Show the ledger in a browser.")
    parser.add_argument("--data", type=Path, default=Path("spanledger-data"), metavar="DIR", help="the ledger's folder")
    parser.add_argument("--port", type=int, default=8501, metavar="N", help="0 picks a free one and prints it")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="the address to listen on")
    parser.add_argument("--api", default="", metavar="URL", help="the collector's API; found in the data folder if not given")
    asked = parser.parse_args(arguments)
    try:
        run(data=asked.data, port=asked.port, host=asked.host, api=asked.api)
    except (PortInUse, ImportError) as error:
        sys.exit(f"spanledger: {error}")


if __name__ == "__main__":
    main()
