"""Counters in Redis, shared by any number of collectors: one Lua script, one atomic step over all limits of a call."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import redis

from spanledger.limits.check import Check
from spanledger.limits.counters.counters import (
    Amount,
    CountersAway,
    Demand,
    Hold,
    Key,
    Part,
    Place,
    Posting,
    Reading,
    Snapshot,
)
from spanledger.limits.counters.let_go import LetGo
from spanledger.limits.counters.own_holds import Own, OwnHolds
from spanledger.limits.counters.redis_anew import Anew, batched
from spanledger.limits.counters.redis_holds import PartsOf, RedisHolds
from spanledger.limits.counters.redis_script import RedisScript
from spanledger.limits.counters.redis_together import Together
from spanledger.limits.counters.redis_words import (
    about_text,
    amount_words,
    demands_text,
    json,
    parts_text,
    place_words,
    read_demanded,
    read_key,
    read_readings,
    read_slots,
)

#: How long an entry is known, so that a second delivery, by whichever collector, does not count again.
KNOWN_SECONDS = 2 * 3_600
#: Entries or amounts in one step: a few milliseconds in which Redis does nothing else.
CHUNK = 500
SAMPLED = 2_000


def _real() -> int:
    return time.time_ns() // 1_000


class SharedCounters:
    """Counters at a Redis URL, under a namespace. `released` is called when this process set something free.

    `now` is asked for the moment, in microseconds, where nobody names it: by any other clock than that of the checks, what is
    released would take too much or too little out of a rolling window.
    """

    @property
    def remote(self) -> bool:
        return True

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "spanledger",
        released: Callable[[], None] = lambda: None,
        now: Callable[[], int] = _real,
    ) -> None:
        self._now = now
        self._prefix = f"{{{namespace}}}:"
        self._script = RedisScript(url, f"{self._prefix}state")
        self._released = released
        self._together = Together(self._script)
        self._own = OwnHolds()
        self._let_go = LetGo()
        self._holds = RedisHolds(self._script, self._prefix, self._own, now)
        self._anew = Anew(self._script, self._prefix)
        self._heard = "0"
        self.leaked = 0

    # — the step —

    def hold(self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check) -> list[Reading]:
        """Test all demands; when every one that refuses passes, hold them all. Raises `CountersAway`."""
        if not demands:
            return []
        words = (hold_id or "", expires_at, about_text(about), demands_text(demands))
        with self._let_go_if_unheard(hold_id):
            answer = self._script.run("hold", now, *words)[0]
        return self._held(answer, demands, now, *words)

    async def hold_soon(
        self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check
    ) -> list[Reading]:
        """The same from an event loop. Raises `CountersAway`."""
        if not demands:
            return []
        words = (hold_id or "", expires_at, about_text(about), demands_text(demands))
        with self._let_go_if_unheard(hold_id):
            answer = await self._together.hold(now, *words)
        return self._held(answer, demands, now, *words)

    def release(self, hold_id: str) -> bool:
        """Set free what a hold holds. False when there is no such hold (any more)."""
        self._own.end([hold_id])
        self._let_go.add(hold_id)
        return self._let_go_of([hold_id])

    def settle(self, hold_id: str, parts: tuple[Part, ...], until: int) -> bool:
        """Replace what a hold holds by what its call used, until its entry arrives; from `until` on it counts as used."""
        told = parts_text(parts)
        self._own.change(hold_id, parts=told, expires_at=until, settled="1")
        return self._freed(self._script.run("settle", self._now(), hold_id, until, told))

    def extend(self, hold_id: str, expires_at: int) -> bool:
        """Lengthen a lease. False when there is no such hold (any more), or it is settled."""
        self._own.change(hold_id, expires_at=expires_at)
        return self._script.run("extend", self._now(), hold_id, expires_at)[0] == "1"

    def post(self, postings: Iterable[Posting], now: int) -> None:
        """Add what is used, and drop the holds of the calls that these are; an entry that is known changes nothing."""
        listed = list(postings)
        for start in range(0, len(listed), CHUNK):
            chunk = listed[start : start + CHUNK]
            told = [[p.entry_id or "", p.hold_id or "", [amount_words(*a) for a in p.amounts]] for p in chunk]
            self._script.run("post", now, json(told), KNOWN_SECONDS)
            self._own.end([posting.hold_id for posting in chunk if posting.hold_id is not None])
        if any(posting.hold_id for posting in listed):
            self._released()

    # — reading —

    def read(self, places: Sequence[Place], now: int) -> list[Reading]:
        """Buckets as they stand."""
        found: list[Reading] = []
        for start in range(0, len(places), CHUNK):
            asked = json([place_words(place) for place in places[start : start + CHUNK]])
            found += read_readings(self._script.run("read", now, asked))
        return found

    async def read_soon(self, places: Sequence[Place], now: int) -> list[Reading]:
        """The same of a few, from an event loop. Raises `CountersAway`."""
        return read_readings(await self._script.ask("read", now, json([place_words(place) for place in places])))

    def keys(self, limit_id: str, start: int, count: int) -> tuple[list[Key], int]:
        """Keys of live buckets of a limit in the window that began at `start`, and how many there are.

        With more than some thousands, the fullest of a sample: reading them all would keep Redis from its checks.
        """
        index = f"{self._prefix}i:{limit_id}:{start}"
        found: Any = self._script.do(lambda r: r.srandmember(index, max(count, SAMPLED)))
        total: Any = self._script.do(lambda r: r.scard(index))
        return [read_key(key) for key in found], int(total)

    def slots(self, place: Place, now: int) -> list[tuple[int, int]]:
        """(slot, units) of a rolling bucket that still count, oldest first."""
        self.read([place], now)
        found: Any = self._script.do(lambda r: r.hgetall(self._bucket(place)))
        return read_slots(found)

    async def slots_soon(self, place: Place, now: int) -> list[tuple[int, int]]:
        """The same from an event loop. Raises `CountersAway`."""
        words: list[str] = await self._script.fetch("HGETALL", self._bucket(place))
        oldest = (now - place.length) // place.width
        return [slot for slot in read_slots(dict(zip(words[::2], words[1::2], strict=True))) if slot[0] >= oldest]

    def find(self, hold_id: str) -> Hold | None:
        """A live hold."""
        return self._holds.find(hold_id)

    def count(self, limit_ids: Collection[str]) -> tuple[int, int]:
        """(live buckets of these limits, live holds); also brings `leaked` up to date."""
        ids = list(limit_ids)
        buckets = sum(self._script.do(partial(_buckets, prefix=self._prefix, limit_ids=some)) for some in batched(ids, CHUNK))
        holds: Any = self._script.do(lambda r: r.zcard(f"{self._prefix}leases"))
        leaked: Any = self._script.do(lambda r: r.get(f"{self._prefix}leaked"))
        self.leaked = int(leaked or 0)
        return buckets, int(holds)

    # — upkeep —

    def expire(self, now: int) -> None:
        """Release what has outlived its lease or was let go of unheard, and hear what ended at other collectors."""
        self._let_go_of(self._let_go.untold())
        while int(self._script.run("expire", now)[0]):
            pass
        ended: Any = True
        while ended:
            ended = self._script.do(lambda r: r.xrange(f"{self._prefix}ended", min=f"({self._heard}", count=CHUNK * 10))
            self._own.end([one["i"] for _, one in ended])
            if ended:
                self._heard = ended[-1][0]
        self._own.sweep(now)

    def hold_anew(
        self, limit_ids: Collection[str], parts_of: PartsOf, but: Collection[str] = (), *, own: bool = False
    ) -> set[str]:
        """Let these limits hold what the calls in flight hold of them by now, `but` for some; gives the holds looked at.

        `own`: those alone that this process made.
        """
        return self._holds.place_anew(limit_ids, parts_of, but, own=own)

    def forget(self, limit_id: str) -> None:
        """Drop a limit's buckets, whatever they hold."""
        self._script.run("forget", self._now(), limit_id)

    def begin_count(self, limit_ids: Sequence[str], now: int) -> None:
        """To be called before the ledger is read that `replace` counts from: what is posted from now on is noted."""
        self._anew.begin(limit_ids, now)

    def counted(self) -> dict[str, int]:
        """Limit → when it was last counted anew, in microseconds: what the ledger had learned by then is in its counters."""
        found: Any = self._script.do(lambda r: r.hgetall(f"{self._prefix}counted"))
        return {limit_id: int(at) for limit_id, at in found.items()}

    def replace(self, limit_ids: Sequence[str], amounts: Iterable[Amount], now: int, snapshot: Snapshot) -> None:
        """Count these limits anew: what is used is replaced, what is held stays.

        What was posted since `begin_count` stays counted, but for what the `snapshot` has; at no moment is it left out.
        """
        of_limit: dict[str, list[Amount]] = {limit_id: [] for limit_id in limit_ids}
        for amount in amounts:
            of_limit[amount.place.limit_id].append(amount)
        if twice := self._anew.replace(of_limit, now, snapshot):
            self.post([Posting(None, None, [amount._replace(units=-amount.units) for amount in twice])], now)

    def state(self) -> str:
        """`ready:` and since when, `counting` while some collector counts anew, or `lost`. Raises `CountersAway`."""
        found: Any = self._script.do(lambda r: r.get(f"{self._prefix}state"))
        return str(found or "lost")

    def server(self) -> str:
        """Which Redis it is: another after a start, or when a replica was promoted. Raises `CountersAway`."""
        found: Any = self._script.do(lambda r: r.info("server"))
        return str(found["run_id"])

    def begin_counting(self, seconds: int) -> bool:
        """Claim to count all anew; False when another collector does so already."""
        claimed: Any = self._script.do(lambda r: r.set(f"{self._prefix}counting", "1", nx=True, ex=seconds))
        if claimed:
            self._script.do(lambda r: r.set(f"{self._prefix}state", "counting"))
        return bool(claimed)

    def end_counting(self, known: Sequence[str]) -> None:
        """All is counted: `known` are the entries that may still be delivered again."""
        for start in range(0, len(known), 10_000):
            keys = [f"{self._prefix}e:{entry_id}" for entry_id in known[start : start + 10_000]]
            self._script.do(partial(_mark, keys=keys))
        self._script.do(lambda r: r.set(f"{self._prefix}state", f"ready:{_real()}"))
        self._script.do(lambda r: r.delete(f"{self._prefix}counting"))

    def mine(self) -> list[str]:
        """The holds that this process made and has not seen settled."""
        return self._own.ids()

    def restore(self) -> None:
        """Hold again what this process held before the counters, or their last second, were lost; let go of what it let go of."""
        self._let_go_of(self._let_go.all())
        for hold_id, own in self._own.all():
            self._script.run("restore", self._now(), hold_id, own.made_at, own.expires_at, own.settled, own.parts, own.about)

    def drop(self, hold_ids: Iterable[str]) -> None:
        """These holds are settled, by whichever collector."""
        self._own.end(hold_ids)

    async def leave(self) -> None:
        """Close the connection of this event loop."""
        await self._script.leave()

    def close(self) -> None:
        """Close the connections of threads; that of an event loop is closed by `leave`."""
        self._script.close()

    # — inside —

    def _bucket(self, place: Place) -> str:
        return f"{self._prefix}b:{place.limit_id}:{place.start}:{json(place.key)}"

    def _held(
        self, answer: str, demands: Sequence[Demand], now: int, hold_id: str, expires_at: int, about: bytes, parts: bytes
    ) -> list[Reading]:
        found = read_demanded(answer)
        if hold_id and all(r.passes or not d.refuses for r, d in zip(found, demands, strict=True)):
            self._own.add(hold_id, Own(now, expires_at, "0", parts, about))
        return found

    @contextmanager
    def _let_go_if_unheard(self, hold_id: str | None) -> Iterator[None]:
        """When nobody hears that a check has passed, it holds nothing."""
        try:
            yield
        except BaseException as error:
            if hold_id is not None and (not isinstance(error, CountersAway) or error.unheard):
                self._let_go.add(hold_id)
            raise

    def _let_go_of(self, hold_ids: Sequence[str]) -> bool:
        freed = False
        for chunk in batched(hold_ids, CHUNK):
            freed |= self._freed(self._script.run("release", self._now(), *chunk))
            self._let_go.told(chunk)
        return freed

    def _freed(self, answer: Sequence[str]) -> bool:
        if answer[0] != "0":
            self._released()
            return True
        return False


def _mark(client: "redis.Redis", *, keys: Sequence[str]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.set(key, "1", ex=KNOWN_SECONDS)
        pipe.execute()


def _buckets(client: "redis.Redis", *, prefix: str, limit_ids: Sequence[str]) -> int:
    with client.pipeline(transaction=False) as pipe:
        for limit_id in limit_ids:
            pipe.smembers(f"{prefix}w:{limit_id}")
        windows = pipe.execute()
        for limit_id, starts in zip(limit_ids, windows, strict=True):
            for start in starts:
                pipe.scard(f"{prefix}i:{limit_id}:{start}")
        return sum(pipe.execute())
