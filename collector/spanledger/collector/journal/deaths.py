"""How often the process died over bodies while it replayed them, so that one which kills it is not replayed for ever.

Only a start counts: whatever kills a running collector waits in the journal, and meets the next start before anything else does.
What is about to be decoded is noted there, one commit a piece. A start that finds such a note knows over what the last one died:
it takes these bodies a sixteenth at a time, and the one that is left alone after some deaths is set aside. A collector that is
killed for another reason, or has too little memory for a whole batch, only replays a little slower.
"""

import logging
import sqlite3
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from spanledger.collector.journal.journal import Journal

logger = logging.getLogger(__name__)

#: A body alone, over which so many starts have died one after another, is set aside.
MOST_DEATHS = 3
#: Bodies over which a start died are taken in so many groups by the next one.
_GROUPS = 16

_NOTE = "insert into replaying (last, bodies, deaths) values (?, ?, ?)"


class Deaths:
    """Entered while a start replays. `last` is the newest of the bodies over which the last start died, 0 when it did not."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.last = self._after = 0
        self._bodies = self._deaths = 0
        self._left = False

    def __enter__(self) -> Self:
        def found(connection: sqlite3.Connection) -> None:
            note = connection.execute("select last, bodies, deaths from replaying").fetchone()
            if note is not None:
                self.last, self._bodies, self._deaths = note[0], note[1], note[2] + 1
                connection.execute("update replaying set deaths = ?", (self._deaths,))

        self._write(found)
        if self._deaths:
            logger.error(
                "the last start died while it replayed %d bodies up to number %d, start number %d to do so; they are taken in "
                "small groups, and one that goes on to kill the collector is set aside", self._bodies, self.last, self._deaths,
            )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._write(_cleared)
        elif not isinstance(error, MemoryError):  # which ends a start as surely as the system's killer does
            self.leave()

    def leave(self) -> None:
        """The start ends, or is told to, while it replays: what it has in hand is not to blame for that."""
        self._left = True

        def left(connection: sqlite3.Connection) -> None:
            _cleared(connection)
            if self._after < self.last:  # what is known of earlier starts stays known; the next one adds one to it
                connection.execute(_NOTE, (self.last, self._bodies, self._deaths - 1))

        self._write(left)

    def deadly(self, after: int) -> str:
        """Why the next body above a sequence is not to be decoded again; "" when it is."""
        if self._deaths < MOST_DEATHS or self._bodies > 1 or after >= self.last:
            return ""
        return (
            f"the collector died {self._deaths} times while this was read (killed, out of memory, or a fault in native code); "
            "`spanledger journal retry` tries it once more, best with more memory or a newer version"
        )

    def most(self, after: int) -> int:
        """How many bodies above a sequence may be taken at once."""
        return sys.maxsize if after >= self.last else -(-self._bodies // _GROUPS)

    def begun(self, after: int, last: int, bodies: int) -> None:
        """Note that so many bodies above `after`, up to `last`, are about to be decoded; returns when that is on disk."""
        self._after = after
        deaths = self._deaths if after < self.last else 0

        def noted(connection: sqlite3.Connection) -> None:
            if not self._left:
                _cleared(connection)
                connection.execute(_NOTE, (last, bodies, deaths))

        self._write(noted)

    def _write(self, change: Callable[[sqlite3.Connection], None]) -> None:
        try:
            self._journal.run(change)
        except sqlite3.Error as error:  # a full disk: bodies can be replayed without being counted
            logger.warning("it could not be noted which bodies are replayed: %s", error)


def _cleared(connection: sqlite3.Connection) -> None:
    connection.execute("delete from replaying")
