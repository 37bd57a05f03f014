"""Limits in Redis that are counted anew from the ledger, some buckets at a time, while others go on posting and asking."""

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import redis

from spanledger.limits.counters.counters import Amount, Snapshot
from spanledger.limits.counters.redis_script import RedisScript
from spanledger.limits.counters.redis_words import amount_words, json, read_noted

#: Buckets and amounts in one step: a few milliseconds in which Redis does nothing else. All of a bucket are in one.
STEP = 500
#: Where a list of what was noted has nothing.
NOTHING = 2**31

#: Its key as Redis has it, and the start of its window.
Bucket = tuple[str, str]


class Anew:
    """Each bucket is replaced in one step, in which what came to it meanwhile is added: at no moment is any of it left out."""

    def __init__(self, script: RedisScript, prefix: str) -> None:
        self._script, self._prefix = script, prefix
        self._noted: dict[str, int] = {}
        self._asked: Callable[[], Snapshot | None] = lambda: None
        self._name = ""

    def begin(self, limit_ids: Sequence[str], now: int) -> None:
        """What is posted to these limits from now on is noted. Raises `CountersAway`."""
        if limit_ids:
            noted = self._script.run("begin_count", now, *limit_ids)
            self._noted.update(zip(limit_ids, map(int, noted), strict=True))

    def replace(self, of_limit: Mapping[str, list[Amount]], now: int, snapshot: Snapshot) -> list[Amount]:
        """Replace what is used of limits by what the snapshot has of each, and what was noted since `begin` beside that.

        Gives what is counted twice by then, to be taken back: it came meanwhile. What the snapshot has and nobody has posted yet
        will not be counted to these limits when it is. Raises `CountersAway`.
        """
        begun = {limit_id: self._replace(limit_id, amounts, now, snapshot) for limit_id, amounts in of_limit.items()}
        unposted = self._unposted(snapshot, now)
        twice: list[Amount] = []
        for limit_ids in batched(list(begun), STEP):
            if unposted:
                self._script.run("have_counted", now, unposted, *limit_ids)
            for limit_id in limit_ids:
                twice += _amounts(self._noted_since(limit_id, begun[limit_id]), snapshot, counted=True)
        return twice

    def _replace(self, limit_id: str, amounts: list[Amount], now: int, snapshot: Snapshot) -> int:
        """Gives how much of what was noted is among the amounts."""
        noted = self._noted.pop(limit_id, NOTHING)
        before = self._noted_since(limit_id, noted)
        amounts += _amounts(before, snapshot, counted=False)
        for buckets, some in self._steps(limit_id, amounts):
            words = [amount_words(*amount) for amount in some]
            self._script.run("count_anew", now, limit_id, noted + len(before), json(buckets), json(words))
        return noted + len(before)

    def _unposted(self, snapshot: Snapshot, now: int) -> str:
        """The name under which Redis has what the snapshot has and nobody had posted when first asked; "" when there is none."""
        if snapshot is not self._asked():
            name = uuid4().hex
            newest = batched(snapshot.newest(), STEP)
            found = [entry_id for some in newest for entry_id in self._script.run("unposted", now, *some)]
            for some in batched(found, STEP):
                self._script.run("name_unposted", now, name, *some)
            self._asked, self._name = weakref.ref(snapshot), name if found else ""
        return self._name

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

    def _noted_since(self, limit_id: str, position: int) -> list[str]:
        found: Any = self._script.do(lambda r: r.lrange(f"{self._prefix}c:{limit_id}", position, -1))
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


def _amounts(noted: Sequence[str], snapshot: Snapshot, *, counted: bool) -> list[Amount]:
    """Of what was noted, what the snapshot has, or has not."""
    postings = [read_noted(text) for text in noted]
    known = snapshot.seen([posting.entry_id for posting in postings if posting.entry_id]) if postings else ()
    return [amount for posting in postings if (posting.entry_id in known) is counted for amount in posting.amounts]


def batched(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
