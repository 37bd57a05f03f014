"""The holds that this process has let go of and that Redis may have all the same: its answer was lost, or its last second was."""

import threading
import time
from collections.abc import Iterable

#: A Redis that was killed, or a replica, lacks a second or two, which its collectors find within a few.
KNOWN_SECONDS = 60.0
#: A Redis that hangs for long leaves so many behind; of those before, it is told no more, and they end with their leases.
MOST = 100_000


class LetGo:
    """By id: whether Redis was told, and when. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told_at: dict[str, float | None] = {}

    def add(self, hold_id: str) -> None:
        """One that Redis has not been told of, or not answered for."""
        with self._lock:
            self._told_at[hold_id] = None
            if len(self._told_at) > MOST:
                del self._told_at[next(iter(self._told_at))]

    def told(self, hold_ids: Iterable[str]) -> None:
        """Redis has answered that these are let go of."""
        now = time.monotonic()
        with self._lock:
            self._told_at.update((hold_id, now) for hold_id in hold_ids if hold_id in self._told_at)

    def untold(self) -> list[str]:
        """Those that Redis must still be told of; those that it has known for long are forgotten."""
        known_since = time.monotonic() - KNOWN_SECONDS
        with self._lock:
            for hold_id in [hold_id for hold_id, at in self._told_at.items() if at is not None and at < known_since]:
                del self._told_at[hold_id]
            return [hold_id for hold_id, at in self._told_at.items() if at is None]

    def all(self) -> list[str]:
        """Those, and the ones that another Redis may not know of."""
        with self._lock:
            return list(self._told_at)
