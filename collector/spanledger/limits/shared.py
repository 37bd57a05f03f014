"""Counters in Redis, shared by any number of collectors: one Lua script, one atomic step over all limits of a call.

Checks of one event loop travel together: while one pipeline is under way, the next gathers. When Redis is away, asking
raises `CountersAway` at once and for a moment, so that no call waits for a time-out that another has just had.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import redis
import redis.asyncio
from redis.exceptions import NoScriptError, RedisError

from spanledger.limits.check import Check
from spanledger.limits.counters import Amount, CountersAway, Demand, Hold, Key, Place, Posting, Reading

logger = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "counters.lua").read_text()

BASE = 10**12
CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
AWAY_SECONDS = 0.2
#: How long an entry is known, so that a second delivery, by whichever collector, does not count again.
KNOWN_SECONDS = 2 * 3_600
#: Entries or amounts in one step: a few milliseconds in which Redis does nothing else.
CHUNK = 500
SAMPLED = 2_000

Part = tuple[Place, int, int]
_ABOUT = ("provider", "model", "operation", "service_tier", "tenant", "project", "user", "agent", "environment", "service")


class SharedCounters:
    """Counters at a Redis URL, under a namespace. `released` is called when this process set something free."""

    @property
    def remote(self) -> bool:
        return True

    def __init__(self, url: str, *, namespace: str = "spanledger", released: Callable[[], None] = lambda: None) -> None:
        options: dict[str, Any] = {
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "decode_responses": True,
        }
        self._redis = redis.Redis.from_url(url, **options)
        self._soon: redis.asyncio.Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._url, self._options = url, options
        self._prefix = f"{{{namespace}}}:"
        self._sha = ""
        self._released = released
        self._away_until = 0.0
        self._gathered: list[tuple[tuple[Any, ...], asyncio.Future[list[str]]]] = []
        self._under_way: asyncio.Task[None] | None = None
        self._mine: dict[str, Hold] = {}
        self.leaked = 0

    # — the step —

    def hold(self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check) -> list[Reading]:
        """Test all demands; when every one that refuses passes, hold them all. Raises `CountersAway`."""
        if not demands:
            return []
        return self._held(
            self._call(*self._asked(now, demands, hold_id, expires_at, about)), demands, now, hold_id, expires_at, about
        )

    async def hold_soon(
        self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check
    ) -> list[Reading]:
        """The same from an event loop, together with the other checks of this moment. Raises `CountersAway`."""
        if not demands:
            return []
        if time.monotonic() < self._away_until:
            raise CountersAway("the counters in Redis cannot be reached")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[str]] = loop.create_future()
        self._gathered.append((self._asked(now, demands, hold_id, expires_at, about), answered))
        if self._under_way is None:
            self._under_way = loop.create_task(self._send())
        return self._held(_ok(await answered), demands, now, hold_id, expires_at, about)

    def release(self, hold_id: str) -> bool:
        """Set free what a hold holds. False when there is no such hold (any more)."""
        self._mine.pop(hold_id, None)
        return self._freed(self._call("release", _now(), hold_id))

    def settle(self, hold_id: str, parts: tuple[Part, ...], until: int) -> bool:
        """Replace what a hold holds by what its call used, until its entry arrives; from `until` on it counts as used."""
        mine = self._mine.get(hold_id)
        if mine is not None:
            self._mine[hold_id] = replace(mine, parts=parts, expires_at=until, settled=True)
        return self._freed(self._call("settle", _now(), hold_id, until, _json([_part(*part) for part in parts])))

    def extend(self, hold_id: str, expires_at: int) -> bool:
        """Lengthen a lease. False when there is no such hold (any more), or it is settled."""
        mine = self._mine.get(hold_id)
        if mine is not None:
            self._mine[hold_id] = replace(mine, expires_at=expires_at)
        return self._call("extend", _now(), hold_id, expires_at)[0] == "1"

    def post(self, postings: Iterable[Posting], now: int) -> None:
        """Add what is used, and drop the holds of the calls that these are; an entry that is known changes nothing."""
        listed = list(postings)
        for start in range(0, len(listed), CHUNK):
            chunk = listed[start : start + CHUNK]
            told = [[p.entry_id or "", p.hold_id or "", [_amount(*a) for a in p.amounts]] for p in chunk]
            self._call("post", now, _json(told), KNOWN_SECONDS)
            for posting in chunk:
                if posting.hold_id is not None:
                    self._mine.pop(posting.hold_id, None)
        if any(posting.hold_id for posting in listed):
            self._released()

    # — reading —

    def read(self, places: Sequence[Place], now: int) -> list[Reading]:
        """Buckets as they stand."""
        found: list[Reading] = []
        for start in range(0, len(places), CHUNK):
            numbers = iter(self._call("read", now, _json([_place(place) for place in places[start : start + CHUNK]])))
            found += [Reading(_units(uh, ul), _units(hh, hl), _units(wh, wl), True)
                      for uh, ul, hh, hl, wh, wl in zip(*[numbers] * 6, strict=True)]  # fmt: skip
        return found

    def keys(self, limit_id: str, start: int, count: int) -> tuple[list[Key], int]:
        """Keys of live buckets of a limit in the window that began at `start`, and how many there are.

        With more than some thousands, the fullest of a sample: reading them all would keep Redis from its checks.
        """
        index = f"{self._prefix}i:{limit_id}:{start}"
        found: Any = self._do(lambda r: r.srandmember(index, max(count, SAMPLED)))
        total: Any = self._do(lambda r: r.scard(index))
        return [tuple(orjson.loads(key)) for key in found], int(total)

    def slots(self, place: Place, now: int) -> list[tuple[int, int]]:
        """(slot, units) of a rolling bucket that still count, oldest first."""
        self.read([place], now)
        limit, key, start, *_ = _place(place)
        found: Any = self._do(lambda r: r.hgetall(f"{self._prefix}b:{limit}:{start}:{key}"))
        slots = [(int(name[1:]), _units(*value.split(":"))) for name, value in found.items() if name.startswith("s")]
        return sorted(slots)

    def find(self, hold_id: str) -> Hold | None:
        """A live hold."""
        found: Any = self._do(lambda r: r.hmget(f"{self._prefix}h:{hold_id}", "m", "e", "s", "p", "a"))
        if found[0] is None:
            return None
        made_at, expires_at, settled, parts, about = found
        read = tuple(_read_part(part) for part in orjson.loads(parts))
        return Hold(hold_id, int(made_at), int(expires_at), read, replace(Check(), **orjson.loads(about)), settled == "1")

    def count(self) -> tuple[int, int]:
        """(keys in Redis, live holds); also brings `leaked` up to date."""
        size: Any = self._do(lambda r: r.dbsize())
        holds: Any = self._do(lambda r: r.zcard(f"{self._prefix}leases"))
        leaked: Any = self._do(lambda r: r.get(f"{self._prefix}leaked"))
        self.leaked = int(leaked or 0)
        return int(size), int(holds)

    # — upkeep —

    def expire(self, now: int) -> None:
        """Release what has outlived its lease."""
        self._call("read", now, "[]")
        for hold in [h for h in list(self._mine.values()) if h.expires_at < now]:
            self._mine.pop(hold.id, None)

    def forget(self, limit_id: str) -> None:
        """Drop a limit's buckets, whatever they hold."""
        self._call("forget", _now(), limit_id)

    def replace(self, limit_id: str, amounts: Iterable[Amount], now: int) -> None:
        """Count a limit anew: what is used is replaced, what is held stays."""
        listed = list(amounts)
        for start in range(0, max(len(listed), 1), CHUNK * 10):
            chunk = [_amount(*amount) for amount in listed[start : start + CHUNK * 10]]
            self._call("count_anew", now, limit_id, 0 if start else 1, _json(chunk))

    def state(self) -> str:
        """`ready:` and since when, `counting` while some collector counts anew, or `lost`. Raises `CountersAway`."""
        found: Any = self._do(lambda r: r.get(f"{self._prefix}state"))
        return str(found or "lost")

    def begin_counting(self, seconds: int) -> bool:
        """Claim to count all anew; False when another collector does so already."""
        claimed: Any = self._do(lambda r: r.set(f"{self._prefix}counting", "1", nx=True, ex=seconds))
        if claimed:
            self._do(lambda r: r.set(f"{self._prefix}state", "counting"))
        return bool(claimed)

    def end_counting(self, known: Sequence[str]) -> None:
        """All is counted: `known` are the entries that may still be delivered again."""
        for start in range(0, len(known), 10_000):
            self._do(partial(_mark, keys=[f"{self._prefix}e:{entry_id}" for entry_id in known[start : start + 10_000]]))
        self._do(lambda r: r.set(f"{self._prefix}state", f"ready:{_now()}"))
        self._do(lambda r: r.delete(f"{self._prefix}counting"))

    def mine(self) -> list[Hold]:
        """The holds that this process made and has not seen settled."""
        return list(self._mine.values())

    def restore(self, holds: Iterable[Hold]) -> None:
        """Hold again what was held before the counters were lost."""
        for hold in holds:
            parts = _json([_part(*part) for part in hold.parts])
            settled = "1" if hold.settled else "0"
            self._call("restore", _now(), hold.id, hold.made_at, hold.expires_at, settled, parts, _about(hold.about))

    def drop(self, hold_ids: Iterable[str]) -> None:
        """These holds are settled, by whichever collector."""
        for hold_id in hold_ids:
            self._mine.pop(hold_id, None)

    async def leave(self) -> None:
        """Close the connections of this event loop."""
        if self._soon is not None:
            soon, self._soon = self._soon, None
            await soon.aclose()

    def close(self) -> None:
        """Close the connections of threads; those of an event loop are closed by `leave`."""
        self._redis.close()

    # — inside —

    def _asked(self, now: int, demands: Sequence[Demand], hold_id: str | None, expires_at: int, about: Check) -> tuple[Any, ...]:
        told = [[*_part(d.place, d.size, d.worst), *_limbs(d.cap), *_limbs(d.bound), int(d.refuses)] for d in demands]
        return ("hold", now, hold_id or "", expires_at, _about(about), _json(told))

    def _held(
        self, answer: Sequence[str], demands: Sequence[Demand], now: int, hold_id: str | None, expires_at: int, about: Check
    ) -> list[Reading]:
        found = []
        for numbers in answer:
            uh, ul, hh, hl, wh, wl, fits = map(int, numbers.split())
            found.append(Reading(uh * BASE + ul, hh * BASE + hl, wh * BASE + wl, fits == 1))
        if hold_id is not None and all(r.passes or not d.refuses for r, d in zip(found, demands, strict=True)):
            parts = tuple((d.place, d.size, d.worst) for d in demands)
            self._mine[hold_id] = Hold(hold_id, now, expires_at, parts, about)
        return found

    def _freed(self, answer: Sequence[str]) -> bool:
        if answer[0] == "1":
            self._released()
            return True
        return False

    async def _send(self) -> None:
        """Send what has gathered, and again while more gathers meanwhile."""
        try:
            while self._gathered:
                batch, self._gathered = self._gathered, []
                try:
                    answers = await self._piped([command for command, _ in batch])
                except (RedisError, OSError) as error:
                    self._is_away()
                    away = CountersAway("the counters in Redis cannot be reached")
                    away.__cause__ = error
                    answers = [away] * len(batch)
                for (_, answered), answer in zip(batch, answers, strict=True):
                    if answered.done():
                        continue
                    if isinstance(answer, CountersAway):
                        answered.set_exception(answer)
                    elif isinstance(answer, Exception):
                        logger.error("Redis refused a check: %s", answer)
                        answered.set_exception(CountersAway(f"the counters in Redis refuse: {answer}"))
                    else:
                        answered.set_result(answer)
        finally:
            self._under_way = None

    async def _piped(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        loop = asyncio.get_running_loop()
        if self._soon is None or self._loop is not loop:
            self._soon, self._loop = redis.asyncio.Redis.from_url(self._url, **self._options), loop
        for _ in range(2):
            if not self._sha:
                self._sha = str(await self._soon.script_load(SCRIPT))
            async with self._soon.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.evalsha(self._sha, 1, f"{self._prefix}state", *command)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
            # A Redis that was restarted knows no script any more; nothing of the batch has been done then.
            if not any(isinstance(answer, NoScriptError) for answer in answers):
                return answers
            self._sha = ""
        return answers

    def _call(self, *command: Any) -> list[str]:
        """One command of the script; its answer without the leading ok. Raises `CountersAway`."""

        def run(client: "redis.Redis") -> Any:
            for attempt in (1, 2):
                if not self._sha:
                    self._sha = str(client.script_load(SCRIPT))
                try:
                    return client.evalsha(self._sha, 1, f"{self._prefix}state", *command)
                except NoScriptError:
                    self._sha = ""
                    if attempt == 2:
                        raise
            return None

        return _ok(self._do(run))

    def _do(self, what: "Callable[[redis.Redis], Any]") -> Any:
        if time.monotonic() < self._away_until:
            raise CountersAway("the counters in Redis cannot be reached")
        try:
            return what(self._redis)
        except (RedisError, OSError) as error:
            self._is_away()
            raise CountersAway("the counters in Redis cannot be reached") from error

    def _is_away(self) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS


def _mark(client: "redis.Redis", *, keys: Sequence[str]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.set(key, "1", ex=KNOWN_SECONDS)
        pipe.execute()


def _ok(answer: Sequence[str]) -> list[str]:
    if answer[0] != "ok":
        raise CountersAway("the counters are being counted anew from the ledger")
    return list(answer[1:])


def _now() -> int:
    return time.time_ns() // 1_000


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _limbs(units: int) -> tuple[int, int]:
    return divmod(units, BASE)


def _units(high: str, low: str) -> int:
    return int(high) * BASE + int(low)


def _place(place: Place) -> list[Any]:
    return [place.limit_id, _json(place.key), str(place.start), place.end, place.width, place.length]


def _part(place: Place, size: int, worst: int) -> list[Any]:
    return [*_place(place), *_limbs(size), *_limbs(worst)]


def _amount(place: Place, at: int, units: int) -> list[Any]:
    return [*_place(place), at, *_limbs(units)]


def _read_part(part: list[Any]) -> Part:
    limit_id, key, start, end, width, length, size_high, size_low, worst_high, worst_low, *_ = part
    place = Place(limit_id, tuple(orjson.loads(key)), int(start), end, width, length)
    return place, size_high * BASE + size_low, worst_high * BASE + worst_low


def _about(check: Check) -> str:
    about = {name: value for name in _ABOUT if (value := getattr(check, name)) is not None}
    if check.tags:
        about["tags"] = dict(check.tags)
    return _json(about)
