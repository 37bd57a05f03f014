"""What must be done every second or so: expired holds, other collectors' changes, shared counters that need repair."""

import logging
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from spanledger.control import TABLES, Control
from spanledger.limits.counters.counters import Counters, CountersAway
from spanledger.limits.counters.memory import MemoryCounters
from spanledger.limits.rulebook import Rulebook

if TYPE_CHECKING:
    from spanledger.limits.limits import Limits
    from spanledger.limits.repair import Repair

logger = logging.getLogger(__name__)

KEEP_SECONDS = 1.0
#: Tables that say what is limited, and how.
FOLLOWED = ("limits", "tiers", "pauses", "grants", "resets")
#: By then every collector has followed a change of the limits.
FOLLOWED_SECONDS = 3 * KEEP_SECONDS


class Keeper:
    """Keeps limits in order, in a thread of its own once started."""

    def __init__(self, limits: "Limits", rules: Rulebook, control: Control, counters: Counters, repair: "Repair | None") -> None:
        self._limits, self._rules, self._control, self._counters, self._repair = limits, rules, control, counters, repair
        self._followed = self._changes()
        self._count_again: dict[str, float] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._says_away = False

    def start(self) -> None:
        """From now on, every second."""
        self._thread = threading.Thread(target=self._run, name="limits", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more; returns when nothing is under way."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def keep(self) -> None:
        """Once."""
        if self._repair is None:
            self._counters.expire(self._limits.micros())
            if isinstance(self._counters, MemoryCounters):
                self._counters.tidy_log()
            return
        self._follow()
        try:
            self._repair.step()
            self._counters.expire(self._limits.micros())
            self._says_away = False
        except CountersAway as away:
            if not self._says_away:
                logger.warning("%s; until they can be, each limit fails open or closed as it says", away)
            self._says_away = True

    def count_again(self, limit_ids: Iterable[str]) -> None:
        """Other collectors post by the old limits until they follow; what they post meanwhile is counted after that."""
        if self._repair is not None:
            self._count_again |= {limit_id: time.monotonic() + FOLLOWED_SECONDS for limit_id in limit_ids}

    def _follow(self) -> None:
        changes = self._changes()
        if changes != self._followed:
            self._rules.follow()
            self._followed = changes
        due = [limit_id for limit_id, at in self._count_again.items() if at <= time.monotonic()]
        for limit_id in due:
            del self._count_again[limit_id]
        if due:
            self._rules.count_again(due)

    def _changes(self) -> int:
        """How many there were. The newest would not tell: of two collectors' changes the later may have the earlier moment."""
        audit = TABLES["audit"]
        counted = sa.select(sa.func.count()).select_from(audit).where(audit.c.table_name.in_(FOLLOWED))
        with self._control.read() as connection:
            found: int = connection.execute(counted).scalar_one()
        return found

    def _run(self) -> None:
        while not self._closing.wait(KEEP_SECONDS):
            try:
                self.keep()
            except Exception:
                logger.exception("limits could not be kept in order; it is tried again in a second")
