"""Starts the dashboard: this process becomes Streamlit's server."""

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

ENTRY = Path(__file__).parent / "entry" / "app.py"
THEME = Path(__file__).parent / "theme.toml"


class PortInUse(Exception):
    """Something else listens where the dashboard should; the text says where and what to do."""


def run(*, data: str | Path, port: int = 8501, host: str = "127.0.0.1", api: str = "") -> NoReturn:
    """Replace this process by the dashboard over the ledger in `data`; port 0 picks a free one. Prints where it listens.

    `api` is the address of the collector's API; without one it is where the collector over `data` says it listens.
    Raises `MissingExtra` or `PortInUse`, each with a one-line text, before anything is replaced.
    """
    require_extra()
    free = _free_port(host, port)
    shown = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"dashboard: http://{shown}:{free}\n")
    sys.stdout.flush()
    command = command_line(data=data, port=free, host=host, api=api)
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and our own interpreter


def command_line(*, data: str | Path, port: int, host: str, api: str) -> list[str]:
    """What to run: Streamlit on the entry script, silent, without telemetry, with the theme."""
    options = {
        "server.port": port,
        "server.address": host,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "logger.hideWelcomeMessage": "true",
        "logger.level": "warning",
        "theme.base": THEME,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    ours = ["--data", str(Path(data).absolute()), "--api", api]
    return [sys.executable, "-m", "streamlit", "run", str(ENTRY), *flags, "--", *ours]


def require_extra() -> None:
    """Raise `MissingExtra` naming the first package of the dashboard that is not installed."""
    for package in ("streamlit", "altair", "duckdb", "deltalake", "pyarrow", "sqlalchemy"):
        if find_spec(package) is None:
            from spanledger.instrumentation.errors import MissingExtra

            raise MissingExtra("dashboard", package)


def _free_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server itself does: a port that is only waiting out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"the dashboard cannot listen on {host}:{port} ({error.strerror}); choose another port, or 0 for any"
            ) from error
        return int(probe.getsockname()[1])
