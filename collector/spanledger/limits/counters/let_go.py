"""The holds that this process has let go of and that Redis may have all the same: its answer was lost, or its last second was."""

import time
from collections.abc import Iterable

#: A Redis that was killed, or a replica, lacks a second or two, which its collectors find within a few.
KNOWN_SECONDS = 60.0


class LetGo:
    """By id: whether Redis was told, and when. From any thread."""

    def __init__(self) -> None:
        self._told_at: dict[str, float | None] = {}

    def add(self, hold_id: str) -> None:
        """One that Redis has not been told of, or not answered for."""
        self._told_at[hold_id] = None

    def told(self, hold_ids: Iterable[str]) -> None:
        """Redis has answered that these are let go of."""
        now = time.monotonic()
        self._told_at.update(dict.fromkeys(hold_ids, now))

    def untold(self) -> list[str]:
        """Those that Redis must still be told of; those that it has known for long are forgotten."""
        known_since = time.monotonic() - KNOWN_SECONDS
        told_at = list(self._told_at.items())
        for hold_id, at in told_at:
            if at is not None and at < known_since:
                self._told_at.pop(hold_id, None)
        return [hold_id for hold_id, at in told_at if at is None]

    def all(self) -> list[str]:
        """Those, and the ones that another Redis may not know of."""
        return list(self._told_at)
