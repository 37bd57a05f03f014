"""`spanledger up`: the collector and the dashboard together, until Ctrl-C."""

import contextlib
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from spanledger.cli.options import DEFAULT_DATA, ApiPort, Config, DataOver, GrpcPort, HttpPort
from spanledger.cli.say import NO_KEY

if TYPE_CHECKING:
    from spanledger.cli.addresses import Addresses
    from spanledger.cli.children import Child

#: How much longer than its service.shutdown_grace the collector may take to end before it is killed.
STOP_SECONDS = 10.0


def up(
    config: Config = None,
    data: DataOver = None,
    grpc_port: GrpcPort = None,
    http_port: HttpPort = None,
    api_port: ApiPort = None,
    dashboard_port: Annotated[
        int, typer.Option("--dashboard-port", min=0, max=65535, metavar="N", help="The dashboard; 0 picks a free one.")
    ] = 8501,
) -> None:
    """Start the collector and the dashboard, and say where they are.

    Ctrl-C (or SIGTERM) stops both; everything that was acknowledged is kept. The ledger is a folder, ./spanledger-data if
    nothing else is said; delete it to begin anew.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's background jobs begin with SIGINT ignored
        signal.signal(number, _leave)
    children: list[Child] = []
    code, grace = 0, 0.0
    try:
        addresses, said = _collector(children, _options(config, data, grpc_port, http_port, api_port))
        grace = float(said["shutdown_grace"])
        dashboard = _dashboard(children, addresses, dashboard_port)
        typer.echo(_welcome(addresses, dashboard, open_to_all=said["open_to_all"]))
        code = _until_one_ends(children)
    except KeyboardInterrupt:
        typer.echo("\nstopping …")
    except ChildEnded as ended:
        code = ended.code
    finally:
        code = _stop(children, grace + STOP_SECONDS) or code
    raise typer.Exit(code)


class ChildEnded(Exception):
    """A child ended before it was ready; it has said why on standard error."""

    def __init__(self, child: "Child") -> None:
        super().__init__(child.name)
        self.code = child.code or 1


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _options(config: Path | None, data: Path | None, *ports: int | None) -> list[str]:
    names = ("--grpc-port", "--http-port", "--api-port")
    chosen = [part for name, port in zip(names, ports, strict=True) if port is not None for part in (name, str(port))]
    return [*(["--config", str(config)] if config else []), *(["--data", str(data)] if data else []), *chosen]


def _collector(children: "list[Child]", options: list[str]) -> "tuple[Addresses, dict[str, Any]]":
    """Start it and wait until it listens: it says so on a line of JSON; gives the rest of that line, too."""
    import json

    from spanledger.cli.addresses import Addresses
    from spanledger.cli.children import Child

    child = Child("collector", ["-m", "spanledger.cli", "serve", "--announce", *options])
    children.append(child)
    told = child.line("{")
    if told is None:
        raise ChildEnded(child)
    said = json.loads("{" + told)
    return Addresses.of(said), said


def _dashboard(children: "list[Child]", addresses: "Addresses", port: int) -> str:
    """Start it and wait until pages can be had; gives its URL, which it prints before its server is up."""
    import urllib.error
    import urllib.request

    from spanledger.cli.children import Child

    options = ["--data", addresses.data, "--port", str(port), "--api", addresses.api]
    child = Child("dashboard", ["-m", "spanledger.dashboard", *options])
    children.append(child)
    url = child.line("dashboard: ")
    while url is not None and child.code is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()  # noqa: S310  # our own child
            return url
        time.sleep(0.1)
    raise ChildEnded(child)


def _until_one_ends(children: "list[Child]") -> int:
    while True:
        for child in children:
            if child.code is not None:
                typer.secho(f"spanledger: the {child.name} ended by itself ({_how(child.code)}); stopping", err=True)
                return 1
        time.sleep(0.2)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _stop(children: "list[Child]", seconds: float) -> int:
    """Stop the dashboard first, then the collector, which has acknowledged work to post."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not children:
        return 0
    collector, *others = children
    for child in others:
        child.stop(5.0)
    if not collector.stop(seconds):
        typer.secho("spanledger: the collector took too long and was ended; its journal has the rest", err=True)
        return 1
    return 0


def _welcome(addresses: "Addresses", dashboard: str, *, open_to_all: bool = False) -> str:
    from importlib.metadata import version

    variables = addresses.variables()
    bold = typer.style
    lines = [
        f"Spanledger {version('spanledger')} is running; the ledger is in {addresses.folder}",
        "",
        f"  dashboard   {bold(dashboard, bold=True)}",
        f"  API         {addresses.api}",
        f"  OTLP/gRPC   {addresses.grpc}",
        f"  OTLP/HTTP   {addresses.otlp}",
        *([f"  keys        {NO_KEY}"] if open_to_all else []),
        "",
        "Put this line first in your application:",
        "",
        f"  {bold('import spanledger.auto  # noqa: F401', bold=True)}",
        "",
    ]
    if variables:
        lines += ["and start it with:", "", *(f"  export {name}={value}" for name, value in variables.items()), ""]
    data = "" if Path(addresses.data) == DEFAULT_DATA.absolute() else f"--data {addresses.folder}"
    made = Path(sys.prefix) == Path(".venv").absolute() and Path("Makefile").exists()
    demo = ("make demo" + (f' ARGS="{data}"' if data else "")) if made else f"spanledger demo {data}".strip()
    lines += [
        f"Nothing to send yet? In another terminal: {demo}",
        "Ctrl-C stops it." if sys.stdin.isatty() else "SIGINT or SIGTERM stops it.",
    ]
    return "\n".join(lines)
