"""A `spanledger` command that keeps running: started on free ports, watched, and always ended."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.command import environment

FREE_PORTS = ("--grpc-port", "0", "--http-port", "0", "--api-port", "0")
PATIENCE_SECONDS = 120.0


class Running:
    """The process and what it has printed; its output goes to files, so that no pipe can fill."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "spanledger.cli", *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**environment(), **variables}, start_new_session=True,
            )  # fmt: skip

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def ended(self) -> int:
        """Wait for its end; gives the exit code."""
        return self.process.wait(PATIENCE_SECONDS)

    def told(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.ended()


def eventually(true: Callable[[], Any], what: str) -> Any:
    """Poll until it is true and give it; fails saying what was waited for."""
    end, pause = time.monotonic() + PATIENCE_SECONDS, 0.02
    while not (found := true()):
        assert time.monotonic() < end, f"waited {PATIENCE_SECONDS:.0f} s for {what}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    return found


@contextmanager
def running(folder: Path, *arguments: str, **variables: str) -> Iterator[Running]:
    """Start a command; whatever happens, its whole process group is gone afterwards."""
    command = Running(folder, *arguments, **variables)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait(30)


def addresses(data: Path, command: Running) -> dict[str, Any]:
    """Where the collector over `data` listens, once it does."""

    def announced() -> dict[str, Any] | None:
        assert command.process.poll() is None, command.err
        try:
            found: dict[str, Any] = json.loads((data / "addresses.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    found: dict[str, Any] = eventually(announced, "the collector to listen")
    return found


@contextmanager
def collector(folder: Path, data: Path, *arguments: str) -> Iterator[tuple[Running, dict[str, Any]]]:
    """`spanledger serve` over `data`, listening."""
    folder.mkdir(parents=True, exist_ok=True)
    with running(folder, "serve", "--data", str(data), *FREE_PORTS, *arguments) as command:
        yield command, addresses(data, command)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").exists() else True
    except (ProcessLookupError, FileNotFoundError):  # it may end between the two
        return False


def get(url: str) -> Any:
    """The JSON at a URL."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())
