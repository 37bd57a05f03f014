"""Holds as Redis has them: found by their ids, and given other parts when limits change."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import redis

from spanledger.limits.counters.counters import Hold, Part
from spanledger.limits.counters.own_holds import OwnHolds
from spanledger.limits.counters.redis_script import RedisScript
from spanledger.limits.counters.redis_words import parts_text, read_about, read_parts
from spanledger.limits.settling import parts_anew

#: Holds that are given other parts in one step: two milliseconds.
PLACED_ANEW = 100
#: Of how many holds Redis is asked at a time.
SCANNED = 500

PartsOf = Callable[[Hold], Sequence[Part]]


class RedisHolds:
    """Those of all collectors, and among them those that this process made."""

    def __init__(self, script: RedisScript, prefix: str, own: OwnHolds, now: Callable[[], int]) -> None:
        self._script, self._prefix, self._own, self._now = script, prefix, own, now

    def find(self, hold_id: str) -> Hold | None:
        """A live hold. Raises `CountersAway`."""
        [(_, hold)] = self._found([hold_id])
        return hold

    def place_anew(self, limit_ids: Collection[str], parts_of: PartsOf, but: Collection[str], *, own: bool) -> set[str]:
        """As `Counters.hold_anew`: a hold gets all its parts in one step, unless it has ended. Raises `CountersAway`."""
        seen: set[str] = set()
        for ids in [self._own.ids()] if own else self._pages():
            page = [hold_id for hold_id in dict.fromkeys(ids) if hold_id not in but and hold_id not in seen]
            seen.update(page)
            for start in range(0, len(page), PLACED_ANEW):
                left: Sequence[str] = page[start : start + PLACED_ANEW]
                while left:  # what was settled, or placed by another, between reading and writing is read again
                    left = self._placed(left, limit_ids, parts_of)
        return seen

    def _placed(self, hold_ids: Sequence[str], limit_ids: Collection[str], parts_of: PartsOf) -> Sequence[str]:
        """Gives those that had changed meanwhile."""
        words: list[str] = []
        become: dict[str, str] = {}
        for was, hold in self._found(hold_ids):
            if hold is None:
                continue
            become[hold.id] = was
            parts = parts_anew(hold, limit_ids, parts_of(hold))
            if parts != hold.parts:
                become[hold.id] = parts_text(parts)
                words += (hold.id, was, become[hold.id])
        left = self._script.run("hold_anew", self._now(), *words) if words else ()
        for hold_id in become.keys() - left:
            self._own.change(hold_id, parts=become[hold_id])
        return left

    def _found(self, hold_ids: Sequence[str]) -> list[tuple[str, Hold | None]]:
        """Each beside the text of its parts."""

        def read(client: "redis.Redis") -> Any:
            with client.pipeline(transaction=False) as pipe:
                for hold_id in hold_ids:
                    pipe.hmget(f"{self._prefix}h:{hold_id}", "m", "e", "s", "p", "a")
                return pipe.execute()

        rows = zip(hold_ids, self._script.do(read), strict=True)
        return [
            ("", None)
            if made_at is None
            else (parts, Hold(hold_id, int(made_at), int(expires_at), read_parts(parts), read_about(about), settled == "1"))
            for hold_id, (made_at, expires_at, settled, parts, about) in rows
        ]

    def _pages(self) -> Iterator[Sequence[str]]:
        """The ids of all holds, some of them twice, and of those that are made meanwhile perhaps some."""
        cursor = 0
        while True:

            def scan(client: "redis.Redis", cursor: int = cursor) -> Any:
                return client.zscan(f"{self._prefix}leases", cursor, count=SCANNED)

            cursor, page = self._script.do(scan)
            yield [hold_id for hold_id, _ in page]
            if cursor == 0:
                return
