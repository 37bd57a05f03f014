"""`spanledger up`: the collector and the dashboard together, until Ctrl-C."""

import contextlib
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from spanledger.cli.options import DEFAULT_DATA, ApiPort, Config, DataOver, GrpcPort, HttpPort

if TYPE_CHECKING:
    from subprocess import Popen

    from spanledger.cli.addresses import Addresses

#: How long the collector may take to post what it has acknowledged. It is journalled anyway: longer only delays the next start.
STOP_SECONDS = 30.0


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
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    children: list[Popen[str]] = []
    code = 0
    try:
        addresses = _collector(children, _options(config, data, grpc_port, http_port, api_port), data)
        dashboard = _dashboard(children, addresses, dashboard_port)
        typer.echo(_welcome(addresses, dashboard))
        code = _until_one_ends(children)
    except KeyboardInterrupt:
        typer.echo("\nstopping …")
    except ChildEnded as ended:
        code = ended.code
    finally:
        code = _stop(children) or code
    raise typer.Exit(code)


class ChildEnded(Exception):
    """A child ended before it was ready; it has said why on standard error."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code or 1


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _options(config: Path | None, data: Path | None, *ports: int | None) -> list[str]:
    names = ("--grpc-port", "--http-port", "--api-port")
    chosen = [part for name, port in zip(names, ports, strict=True) if port is not None for part in (name, str(port))]
    return [*(["--config", str(config)] if config else []), *(["--data", str(data)] if data else []), *chosen]


def _collector(children: "list[Popen[str]]", options: list[str], data: Path | None) -> "Addresses":
    """Start it and wait until it listens: it says so on its first line of output, in JSON."""
    import json
    import subprocess

    from spanledger.cli import children as child
    from spanledger.cli.addresses import Addresses

    started = child.start(["-m", "spanledger.cli", "serve", "--announce", *options], stdout=subprocess.PIPE)
    children.append(started)
    assert started.stdout is not None  # noqa: S101  # it was asked for
    line = started.stdout.readline()
    if not line:
        raise ChildEnded(started.wait())
    _drain(started)
    return Addresses.of(json.loads(line))


def _dashboard(children: "list[Popen[str]]", addresses: "Addresses", port: int) -> str:
    """Start it and wait until it answers; gives its URL."""
    import subprocess

    from spanledger.cli import children as child

    started = child.start(
        ["-m", "spanledger.dashboard", "--data", addresses.data, "--port", str(port), "--api", addresses.api],
        stdout=subprocess.PIPE,
    )
    children.append(started)
    assert started.stdout is not None  # noqa: S101  # it was asked for
    while line := started.stdout.readline():
        if line.startswith("dashboard: "):
            _drain(started)
            return _when_it_answers(started, line.removeprefix("dashboard: ").strip())
    raise ChildEnded(started.wait())


def _when_it_answers(child: "Popen[str]", url: str) -> str:
    """The URL, once pages can be had there: it is printed before the server is up."""
    import urllib.error
    import urllib.request

    while child.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()  # noqa: S310  # our own child
            return url
        time.sleep(0.1)
    raise ChildEnded(child.returncode)


def _drain(child: "Popen[str]") -> None:
    """What a child prints after its first words is not for the terminal, and must not fill the pipe."""
    stream = child.stdout
    assert stream is not None  # noqa: S101
    threading.Thread(target=lambda: [None for _ in stream], daemon=True).start()


def _until_one_ends(children: "list[Popen[str]]") -> int:
    while True:
        for child, name in zip(children, ("collector", "dashboard"), strict=False):
            if (code := child.poll()) is not None:
                typer.secho(f"spanledger: the {name} ended by itself ({_how(code)}); stopping", err=True)
                return 1
        time.sleep(0.2)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _stop(children: "list[Popen[str]]") -> int:
    """Stop the dashboard first, then the collector, which has acknowledged work to post."""
    from spanledger.cli.children import stop

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not children:
        return 0
    collector, *others = children
    for child in others:
        stop(child, 5.0)
    if not stop(collector, STOP_SECONDS):
        typer.secho("spanledger: the collector took too long and was ended; its journal has the rest", err=True)
        return 1
    return 0


def _welcome(addresses: "Addresses", dashboard: str) -> str:
    from importlib.metadata import version

    variables = addresses.variables()
    bold = typer.style
    lines = [
        f"Spanledger {version('spanledger')} is running; the ledger is in {addresses.folder}",
        "",
        f"  dashboard   {bold(dashboard, bold=True)}",
        f"  API         {addresses.api}",
        f"  OTLP/gRPC   {addresses.grpc}",
        f"  OTLP/HTTP   {addresses.http}",
        "",
        "Put this line first in your application:",
        "",
        f"  {bold('import spanledger.auto  # noqa: F401', bold=True)}",
        "",
    ]
    if variables:
        lines += ["and start it with:", "", *(f"  export {name}={value}" for name, value in variables.items()), ""]
    data = "" if Path(addresses.data) == DEFAULT_DATA.absolute() else f" --data {addresses.folder}"
    demo = "make demo" if not data and Path("Makefile").exists() else f"spanledger demo{data}"
    lines += [
        f"Nothing to send yet? In another terminal: {demo}",
        "Ctrl-C stops it." if sys.stdin.isatty() else "SIGINT or SIGTERM stops it.",
    ]
    return "\n".join(lines)
