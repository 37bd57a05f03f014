"""Re-ratings are written down before they are posted and again after, so that a crash between leaves nothing unseen."""

import logging
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from spanledger.collector.pricing.queries import rows
from spanledger.control import Control
from spanledger.control.tables import reratings

logger = logging.getLogger(__name__)


class Intents:
    """The rows of `reratings` of one data folder: `begun`, then `posted`, or `not posted` when a crash came first."""

    def __init__(self, control: Control, data: Path) -> None:
        self._control = control
        # Several collectors may share a control database; each can only look into its own ledger.
        self._here = f"{socket.gethostname()}:{data.resolve()}"

    @contextmanager
    def posting(self, row: Mapping[str, Any], *, who: str, why: str | None) -> Generator[None]:
        """Around the posting of a re-rating; when that fails the row stays `begun`, for `settle` to find out."""
        with self._control.change(who=who, why=why) as change:
            begun = change.insert(reratings, {**row, "state": "begun", "begun_in": self._here})
        yield
        with self._control.change(who=who, why=why) as change:
            change.update(reratings, begun["id"], {"state": "posted"})

    def settle(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Find out from the ledger what became of those that were begun: a posting is one commit, so all is there or none."""
        for row in self._control.rows(reratings, reratings.c.state == "begun", reratings.c.begun_in == self._here):
            there = rows(connection, "rerated_at", at=row["at"])[0]["entries"] > 0
            state = "posted" if there else "not posted"
            with self._control.change(who="spanledger", why="found out after an interruption") as change:
                change.update(reratings, row["id"], {"state": state})
            logger.warning(
                "the re-rating that %s began at %s was interrupted; it is %s", row["who"], row["at"].isoformat(), state
            )
