"""Runs the `spanledger` command: as a user does, in a process of its own, or here, where its imports cost nothing twice."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from spanledger.cli.commands import app
from tests.leaving import put_back


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(home: Path | None = None) -> dict[str, str]:
    """This environment without what would change what the command does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANLEDGER_"))}
    return {**kept, "COLUMNS": "120", "NO_COLOR": "1", **({"HOME": str(home), "XDG_STATE_HOME": str(home)} if home else {})}


def in_a_process(*arguments: str, stdin: str = "", cwd: Path | None = None, **variables: str) -> Outcome:
    """Run one command to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "spanledger.cli", *arguments],
        input=stdin, env={**environment(), **variables}, cwd=cwd, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def here(*arguments: str, stdin: str = "") -> Outcome:
    """Run one command to its end, in this process; an exception it does not catch is raised."""
    with put_back():
        ended = CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": "120", "NO_COLOR": "1"}, catch_exceptions=False)
    return Outcome(ended.exit_code, ended.stdout, ended.stderr)
