"""What a page is, and what it is given to draw."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from spanledger.dashboard.question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What one drawing of a page stands on: the ledger as of `now`, and where the collector's API is."""

    connection: duckdb.DuckDBPyConnection
    now: datetime
    question: Question
    data: Path
    api: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the dashboard. `draw` is called again on every refresh; `about` is the sentence under its title.

    `asks` tells whether the range and the filters are its business; `needs_calls`, whether it has anything to show
    while the ledger is empty.
    """

    name: str
    title: str
    icon: str
    about: str
    draw: Callable[[Moment], None]
    asks: bool = True
    needs_calls: bool = True
