"""The suite's own guard: what a test leaves behind is found, and named by what it is."""

import gc
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import baggage, context

from tests import leaving
from tests.leaving import as_found, nothing_running


def _environment() -> Callable[[], object]:
    os.environ["LEFT"] = "a secret"
    return lambda: os.environ.pop("LEFT")


def _signal() -> Callable[[], object]:
    was = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return lambda: signal.signal(signal.SIGTERM, was)


def _collecting() -> Callable[[], object]:
    gc.disable()
    return gc.enable


def _freezing() -> Callable[[], object]:
    gc.freeze()
    return leaving.FREEZES.pop


def _folder() -> Callable[[], object]:
    was = Path.cwd()
    os.chdir("/")
    return lambda: os.chdir(was)


def _baggage() -> Callable[[], object]:
    token = context.attach(baggage.set_baggage("left", "behind"))
    return lambda: context.detach(token)


@pytest.mark.parametrize(
    ("leave", "named"),
    [
        (_environment, r"the environment \(LEFT\)$"), (_signal, "what signals do"), (_collecting, "the garbage collector"),
        (_freezing, "the garbage collector"), (_folder, "the folder"), (_baggage, r"baggage \(left\)"),
    ],
)  # fmt: skip
def test_what_a_test_leaves_behind_is_named(leave: Callable[[], Callable[[], object]], named: str) -> None:
    guard = as_found()
    guard.__enter__()
    mend = leave()
    try:
        with pytest.raises(AssertionError, match=f"left behind: {named}"):
            guard.__exit__(None, None, None)
    finally:
        mend()


def test_a_thread_and_a_process_that_run_on_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "PATIENCE_SECONDS", 0.1)
    may_end = threading.Event()
    thread = threading.Thread(target=may_end.wait)
    try:
        with pytest.raises(AssertionError, match=rf"left running: .*{re.escape(thread.name)}"), nothing_running():
            thread.start()
    finally:
        may_end.set()
        thread.join()
    with pytest.raises(AssertionError, match=r"left running: .*sleep 60"), nothing_running():
        process = subprocess.Popen(["sleep", "60"])
    process.kill()
    process.wait()
