"""How the script of the counters is run: from threads, and from an event loop where asking must not wait for others.

When Redis is away, asking raises `CountersAway` at once and for a moment, so that no call waits for a time-out that another
has just had.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hiredis
import redis
from redis.exceptions import NoScriptError, RedisError

from spanledger.limits.counters import CountersAway
from spanledger.limits.redis_pipe import RedisPipe, Word

logger = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "counters.lua").read_text()
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
AWAY_SECONDS = 0.2


class RedisScript:
    """The script at a Redis URL, on the key of the counters' state. Every answer is that after the leading "ok"."""

    def __init__(self, url: str, state: str) -> None:
        self._url, self._state = url, state
        self._redis = redis.Redis.from_url(
            url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=CONNECT_SECONDS, decode_responses=True
        )
        self._pipe: RedisPipe | None = None
        self._away_until = 0.0

    def run(self, *words: Word) -> list[str]:
        """One command of the script, from a thread. Raises `CountersAway`."""

        def call(client: "redis.Redis") -> Any:
            try:
                return client.evalsha(SHA, 1, self._state, *words)
            except NoScriptError:  # a Redis that was restarted knows no script any more
                return client.eval(SCRIPT, 1, self._state, *words)

        return _ok(self.do(call))

    async def ask(self, *words: Word) -> list[str]:
        """The same from an event loop. Raises `CountersAway`."""
        return _ok(await self._asked("EVALSHA", SHA, 1, self._state, *words))

    async def fetch(self, *words: Word) -> Any:
        """A plain command from an event loop. Raises `CountersAway`."""
        return await self._asked(*words)

    def do(self, what: "Callable[[redis.Redis], Any]") -> Any:
        """Something else with Redis, from a thread. Raises `CountersAway`."""
        if time.monotonic() < self._away_until:
            raise CountersAway("the counters in Redis cannot be reached")
        try:
            return what(self._redis)
        except (RedisError, OSError) as error:
            raise self._away() from error

    async def leave(self) -> None:
        """Close the connection of the running event loop."""
        if self._pipe is not None and self._pipe.loop is asyncio.get_running_loop():
            self._pipe.close()
            self._pipe = None

    def close(self) -> None:
        """Close the connections of threads."""
        self._redis.close()

    async def _asked(self, *words: Word) -> Any:
        if time.monotonic() < self._away_until:
            raise CountersAway("the counters in Redis cannot be reached")
        if self._pipe is None or self._pipe.loop is not asyncio.get_running_loop():
            self._pipe = RedisPipe(self._url, connect_seconds=CONNECT_SECONDS, answer_seconds=ANSWER_SECONDS)
        try:
            try:
                return await self._pipe.ask(*words)
            except hiredis.ReplyError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                return await self._pipe.ask("EVAL", SCRIPT, *words[2:])
        except hiredis.ReplyError as error:
            logger.error("Redis refused a check: %s", error)
            raise CountersAway(f"the counters in Redis refuse: {error}") from error
        except OSError as error:
            raise self._away() from error

    def _away(self) -> CountersAway:
        self._away_until = time.monotonic() + AWAY_SECONDS
        return CountersAway("the counters in Redis cannot be reached")


def _ok(answer: Sequence[str]) -> list[str]:
    if answer[0] != "ok":
        raise CountersAway("the counters are being counted anew from the ledger")
    return list(answer[1:])
