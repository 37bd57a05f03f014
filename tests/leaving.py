"""What a test must leave as it found it: what it changes in its process meets whichever test comes next, and that is chance."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: How long a thread may take to end that was told to.
PATIENCE_SECONDS = 30.0


#: One for each `gc.freeze`. To count what is frozen would take 30 ms: `gc.get_freeze_count` walks through all of it.
FREEZES: list[None] = []
_freeze = gc.freeze


def _noted() -> None:
    FREEZES.append(None)
    _freeze()


gc.freeze = _noted


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _signals() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)}


def _logging() -> object:
    return logging.root.level, list(logging.root.handlers), logging.root.manager.disable


def _of(module: str, read: Callable[[Any], object]) -> object:
    """Of a module that may not be there: what is not imported has changed nothing."""
    found = sys.modules.get(module)
    return None if found is None else read(found)


def _callbacks(litellm: Any) -> dict[str, list[object]]:
    """It copies those that it is given from one list into others, at its next call. (Texts name its own, such as "cache".)"""
    lists = {name: found for name, found in vars(litellm).items() if name.endswith(("callback", "callbacks"))}
    given = {name: [one for one in found if not isinstance(one, str)] for name, found in lists.items() if isinstance(found, list)}
    return {name: found for name, found in given.items() if found}


#: What it is, and how it stands now.
KEPT: dict[str, Callable[[], object]] = {
    "the environment": _environment,
    "the folder that it runs in": os.getcwd,
    "what signals do": _signals,
    "the path of imports": lambda: list(sys.path),
    "the root logger": _logging,
    "the garbage collector": lambda: (gc.isenabled(), gc.get_threshold(), len(FREEZES)),
    "the time-out of sockets": socket.getdefaulttimeout,
    "the hook of exceptions": lambda: sys.excepthook,  # others are pytest's own in each step of a test, before 8.4
    "a span that is open": lambda: _of("opentelemetry.trace", lambda trace: trace.get_current_span().is_recording()) or False,
    "baggage": lambda: _of("opentelemetry.baggage", lambda baggage: dict(baggage.get_all())) or {},
    "metering": lambda: _of("spanledger.instrumentation.engine", lambda module: module.ENGINE.active) or False,
    "LiteLLM's callbacks": lambda: _of("litellm", _callbacks) or {},
}


@contextmanager
def as_found() -> Iterator[None]:
    """Raises AssertionError at the end of the block when something is not as it was; it names all that is not."""
    before, modules = {what: read() for what, read in KEPT.items()}, len(sys.modules)
    environment = before["the environment"]
    yield
    if len(sys.modules) != modules and isinstance(environment, dict):
        # Some libraries put something there when they are imported, whichever test is the first to need them.
        environment |= {name: value for name, value in _environment().items() if name not in environment}
    changed = [f"{what} ({_difference(before[what], now)})" for what, read in KEPT.items() if (now := read()) != before[what]]
    assert not changed, f"left behind: {'; '.join(changed)}"


def _difference(before: object, now: object) -> str:
    """Of a mapping only which of its names: values of the environment are nobody's business."""
    if isinstance(before, dict) and isinstance(now, dict):
        return ", ".join(sorted(str(name) for name in {*before, *now} if before.get(name) != now.get(name)))
    return f"{before} before, {now} now"


@contextmanager
def put_back() -> Iterator[None]:
    """What a command sets for the whole of its process is as it was after the block."""
    environment, thresholds, signals = dict(os.environ), gc.get_threshold(), _signals()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        gc.set_threshold(*thresholds)
        for number, handler in signals.items():
            signal.signal(number, handler)


@contextmanager
def nothing_running() -> Iterator[None]:
    """The same of threads and processes that were started in the block and still run; they are given a while to end."""
    threads, processes = set(threading.enumerate()), _children()
    yield

    def running() -> list[object]:
        return [*_lasting(set(threading.enumerate()) - threads), *(_children() - processes)]

    end = time.monotonic() + PATIENCE_SECONDS
    while running() and time.monotonic() < end:
        time.sleep(0.02)
    assert not running(), f"left running: {running()}"


def _lasting(threads: set[threading.Thread]) -> list[threading.Thread]:
    """The product's, and such of the tests' as the process would wait for at its end. (Clients keep pools of their own.)"""
    ours = [thread for thread in threads if thread.name.startswith(("spanledger", "collector"))]
    return ours + [thread for thread in threads if thread.name.startswith("Thread-") and not thread.daemon]


def _children() -> set[str]:
    """Processes that this one has started and that live, each with its command line."""
    found = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread, or a process, that has just ended
            for pid in file.read_text().split():
                found.add(f"process {pid}: {Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')}")
    return found
