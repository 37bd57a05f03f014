"""For every part's tests: one that leaves something behind for the next fails, and databases that it opened are closed."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.leaving import as_found, nothing_running


@pytest.fixture(autouse=True, scope="module")
def _nothing_runs_on() -> Iterator[None]:
    """By modules, not by tests: what a module's tests share may start threads when it likes."""
    with nothing_running():
        yield


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
