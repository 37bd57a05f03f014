"""Limits in Redis that are counted anew from the ledger, some buckets at a time, while others go on posting and asking."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from spanledger.limits.counters.counters import Amount, Seen
from spanledger.limits.counters.redis_script import RedisScript
from spanledger.limits.counters.redis_words import amount_words, json, read_noted

#: Buckets and amounts in one step: a few milliseconds in which Redis does nothing else. All of a bucket are in one.
STEP = 500
#: Where a list of what was noted has nothing.
NOTHING = str(2**31)

#: Its key as Redis has it, and the start of its window.
Bucket = tuple[str, str]


class Anew:
    """Each bucket is replaced in one step, in which what came to it meanwhile is added: at no moment is any of it left out."""

    def __init__(self, script: RedisScript, prefix: str) -> None:
        self._script, self._prefix = script, prefix
        self._noted: dict[str, str] = {}

    def begin(self, limit_ids: Sequence[str], now: int) -> None:
        """What is posted to these limits from now on is noted. Raises `CountersAway`."""
        if limit_ids:
            noted = self._script.run("begin_count", now, *limit_ids)
            self._noted.update(zip(limit_ids, noted, strict=True))

    def replace(self, limit_id: str, amounts: list[Amount], now: int, seen: Seen) -> list[Amount]:
        """Replace what is used of a limit by these amounts and what was noted since `begin`, but for what they have `seen`.

        Gives what is counted twice by then, to be taken back: it came meanwhile. Raises `CountersAway`.
        """
        noted = self._noted.pop(limit_id, NOTHING)
        before = self._noted_since(limit_id, noted)
        amounts += _amounts(before, seen, counted=False)
        begun = str(int(noted) + len(before))
        for buckets, some in self._steps(limit_id, amounts):
            words = [amount_words(*amount) for amount in some]
            self._script.run("count_anew", now, limit_id, begun, json(buckets), json(words))
        return _amounts(self._noted_since(limit_id, begun), seen, counted=True)

    def _steps(self, limit_id: str, amounts: Sequence[Amount]) -> Iterator[tuple[list[Bucket], list[Amount]]]:
        """The limit's buckets, some at a time, with their amounts; those that have none come last."""
        of_bucket: defaultdict[Bucket, list[Amount]] = defaultdict(list)
        for amount in amounts:
            of_bucket[json(amount.place.key), str(amount.place.start)].append(amount)
        buckets: list[Bucket] = []
        some: list[Amount] = []
        for bucket in dict.fromkeys([*of_bucket, *self._indexed(limit_id)]):
            buckets.append(bucket)
            some += of_bucket.get(bucket, ())
            if len(buckets) + len(some) >= STEP:
                yield buckets, some
                buckets, some = [], []
        if buckets:
            yield buckets, some

    def _noted_since(self, limit_id: str, position: str) -> list[str]:
        found: Any = self._script.do(lambda r: r.lrange(f"{self._prefix}c:{limit_id}", int(position), -1))
        return list(found)

    def _indexed(self, limit_id: str) -> list[Bucket]:
        """The buckets that Redis has of a limit, some of them twice perhaps."""

        def read(client: "redis.Redis") -> list[Bucket]:
            starts: Any = client.smembers(f"{self._prefix}w:{limit_id}")
            return [
                (key, start) for start in starts for key in client.sscan_iter(f"{self._prefix}i:{limit_id}:{start}", count=STEP)
            ]

        found: list[Bucket] = self._script.do(read)
        return found


def _amounts(noted: Sequence[str], seen: Seen, *, counted: bool) -> list[Amount]:
    """Of what was noted, what the count has seen, or has not."""
    postings = [read_noted(text) for text in noted]
    known = seen([posting.entry_id for posting in postings if posting.entry_id]) if postings else ()
    return [amount for posting in postings if (posting.entry_id in known) is counted for amount in posting.amounts]
