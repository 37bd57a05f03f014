"""Two collectors that share limits, without their receivers: one control database, one ledger, one Redis."""

import itertools
from pathlib import Path
from typing import Any

import duckdb

from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from spanledger.limits import Check, Limit, Limits
from tests.limits.made import Clock, FlatPrice, control, entries
from tests.limits.redis_server import RedisServer

_numbers = itertools.count()


class Collectors:
    """Two `Limits` as two collectors would have them: one control database, one ledger, one Redis."""

    def __init__(self, folder: Path, server: RedisServer, clock: Clock) -> None:
        self.redis, self.clock = server, clock
        self.ledger = Ledger.open(folder / "entries")
        self.folder = folder
        self.one, self.two = self._limits(), self._limits()

    def _limits(self) -> Limits:
        made = Limits(control(self.folder), FlatPrice(), clock=self.clock, history=self._history, counters=self.redis.url)
        with self._history() as connection:
            made.rebuild(connection)
        return made

    def _history(self) -> duckdb.DuckDBPyConnection:
        return connect(self.folder)

    def add(self, **fields: Any) -> Limit:
        given = {
            "name": f"limit {next(_numbers)}",
            "measure": "requests",
            "amount": 1,
            "window": "day",
            "thresholds": [],
        } | fields
        limit = self.one.create(given | fields, who="tests")
        self.two.keep()
        assert self.two.get(limit.id) == limit
        return limit

    def post(self, by: Limits, *rows: dict[str, Any]) -> None:
        frame = entries(*rows)
        with by.in_step():
            self.ledger.post(conform(frame), None)
            by.post(frame)


def kept(of: Limits) -> bool:
    """Whether its counters can be asked, after it has kept them in order once."""
    of.keep()
    return not of.check(Check(dry_run=True)).counters_away
