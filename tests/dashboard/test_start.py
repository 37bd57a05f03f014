"""Starting the dashboard: quiet, local, and with a plain sentence when it cannot be."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spanledger.dashboard.start import ENTRY, PortInUse, command_line, require_extra, run
from spanledger.instrumentation.errors import MissingExtra


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spanledger.dashboard", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, env={**os.environ, **environment}, check=False)


def test_nothing_is_told_to_anybody() -> None:
    flags = command_line(data="d", port=1, host="127.0.0.1", api="")
    assert "--browser.gatherUsageStats=false" in flags
    assert "--server.headless=true" in flags
    assert ENTRY.exists()


def test_a_port_in_use_is_one_sentence_and_names_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"cannot listen on 127.0.0.1:{port}"):
            run(data="d", port=port)
        done = start("--port", str(port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "choose another port" in done.stderr
    assert done.stdout == ""


def test_a_missing_package_is_a_sentence_that_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spanledger.dashboard.start.find_spec", lambda name: None if name == "streamlit" else object())
    with pytest.raises(MissingExtra, match=r"^streamlit is not installed; try: pip install 'spanledger\[dashboard\]'$"):
        require_extra()


def test_help_needs_nothing_that_is_heavy(tmp_path: Path) -> None:
    for package in ("streamlit", "duckdb", "pyarrow"):
        (tmp_path / f"{package}.py").write_text("raise SystemExit('imported')")
    done = start("--help", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--data", "--port", "--host", "--api"):
        assert option in done.stdout
