"""What every part's tests share: control databases that a test opened are closed when it ends (Python 3.13 warns of others)."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _closed_databases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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
