"""The holds that this process made, in the words in which Redis has them: to be held again when Redis has lost them."""

import time
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

#: How often what is remembered is looked through for what has outlived its lease.
SWEPT_SECONDS = 60

Words = str | bytes


class Own(Struct, frozen=True, gc=False):
    """A hold that this process made.

    Nothing of it concerns the garbage collector, which looked through objects for a tenth of a second, in which nothing else
    went on, each time that fifty thousand calls more were in flight.
    """

    made_at: int
    expires_at: int
    settled: str
    parts: Words
    about: Words


class OwnHolds:
    """By id, until they end here, at another collector, or at their lease. From any thread."""

    def __init__(self) -> None:
        self._holds: dict[str, Own] = {}
        self._swept_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, hold_id: str) -> bool:
        return hold_id in self._holds

    def ids(self) -> list[str]:
        """All that are not known to have ended."""
        return list(self._holds)

    def all(self) -> Iterator[tuple[str, Own]]:
        """The same with what is known of them."""
        return iter(list(self._holds.items()))

    def add(self, hold_id: str, hold: Own) -> None:
        """One that was just made."""
        self._holds[hold_id] = hold

    def change(self, hold_id: str, **fields: Words | int) -> None:
        """Some fields of one have changed; nothing where it was made elsewhere."""
        own = self._holds.get(hold_id)
        if own is not None:
            self._holds[hold_id] = replace(own, **fields)

    def end(self, hold_ids: Iterable[str]) -> None:
        """These have ended, wherever they were made."""
        for hold_id in hold_ids:
            self._holds.pop(hold_id, None)

    def sweep(self, now: int) -> None:
        """Now and then, forget what has outlived its lease."""
        if time.monotonic() - self._swept_at > SWEPT_SECONDS:
            self._swept_at = time.monotonic()
            self.end([hold_id for hold_id, own in self.all() if own.expires_at < now])
