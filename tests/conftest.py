"""For every part's tests: one that leaves something behind for the next fails, and databases that it opened are closed.

Properties are tried with the same examples in every run, so that a change fails by itself and never by chance; `make soak`
looks for new ones.
"""

import gc
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import pytest

from tests.leaving import as_found, nothing_running


def pytest_configure(config: pytest.Config) -> None:
    if find_spec("hypothesis") is None:  # the clients' environment
        return
    from hypothesis import HealthCheck, settings

    explores = "soak" in config.option.markexpr and "not soak" not in config.option.markexpr
    # How long an example takes is the machine's affair.
    timeless: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
    settings.register_profile("suite", derandomize=not explores, **timeless)
    settings.load_profile("suite")
    if not explores:
        # Examples are also taken from the source of whatever is imported by then, which is another thing in each worker.
        with suppress(ImportError):  # before Hypothesis 6.131 they were not
            from hypothesis.internal.conjecture import providers

            providers._get_local_constants = lambda: providers._local_constants


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Of the 600,000 objects that libraries and tests are, none becomes garbage; each look through them takes half a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _nothing_runs_on() -> Iterator[None]:
    """By modules, not by tests: what a module's tests share may start threads when it likes."""
    with nothing_running():
        yield


@pytest.fixture(autouse=True, scope="module")
def _within_a_day() -> None:
    """Today's calls are asked for on the day on which they were made: just before midnight (UTC) the next day is waited for."""
    left = 86_400 - time.time() % 86_400
    if left < 30:
        time.sleep(left + 0.1)


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    with as_found():
        yield


@pytest.fixture(autouse=True)
def _closed_databases(_as_found: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python 3.13 warns of those that are left open."""
    # The clients' environment has no database: what is not imported opens none.
    database = sys.modules.get("spanledger.control.database")
    if database is None:
        yield
        return
    opened: list[Any] = []
    made = database.Control.__init__

    def remember(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        opened.append(self)

    monkeypatch.setattr(database.Control, "__init__", remember)
    yield
    for control in opened:
        control.close()
