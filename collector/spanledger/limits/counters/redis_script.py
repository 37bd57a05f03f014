"""How the script of the counters is run: from threads, and from an event loop where asking must not wait for others.

When Redis is away, asking raises `CountersAway` at once and for a moment, so that no call waits for a time-out that another
has just had. All keys lie in one slot, so of a cluster only one node is spoken to: the one that the others name.
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
from redis.exceptions import MovedError, NoScriptError, RedisError

from spanledger.limits.counters.counters import CountersAway
from spanledger.limits.counters.redis_pipe import Address, RedisPipe, Word, options_of

logger = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "counters.lua").read_text()
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
AWAY_SECONDS = 0.2
#: A node of a cluster may name another, and that one another, while slots move.
MOST_MOVES = 3


class RedisScript:
    """The script at a Redis URL, on the key of the counters' state. Every answer is that after the leading "ok"."""

    def __init__(self, url: str, state: str) -> None:
        self._url, self._state = url, state
        self._at: Address | None = None
        self._redis = _client(url, None)
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
        return _ok(await self.fetch("EVALSHA", SHA, 1, self._state, *words))

    async def fetch(self, *words: Word) -> Any:
        """A plain command from an event loop. Raises `CountersAway`."""
        self._raise_while_away()
        moves = 0
        try:
            while moves < MOST_MOVES:
                try:
                    return await self._connected().ask(*words)
                except hiredis.ReplyError as error:
                    said = str(error)
                    if said.startswith("NOSCRIPT") and words[0] == "EVALSHA":
                        words = ("EVAL", SCRIPT, *words[2:])
                    elif said.startswith("MOVED "):
                        moves += 1
                        self._move(MovedError(said.removeprefix("MOVED ")))
                    else:
                        raise
            raise OSError("the nodes of the cluster name each other")
        except (hiredis.ReplyError, OSError) as error:
            raise self._away(error) from error

    def do(self, what: "Callable[[redis.Redis], Any]") -> Any:
        """Something else with Redis, from a thread. Raises `CountersAway`."""
        self._raise_while_away()
        try:
            for _ in range(MOST_MOVES):
                try:
                    return what(self._redis)
                except MovedError as moved:
                    self._move(moved)
            raise OSError("the nodes of the cluster name each other")
        except (RedisError, OSError) as error:
            raise self._away(error) from error

    async def leave(self) -> None:
        """Close the connection of the running event loop."""
        if self._pipe is not None and self._pipe.loop is asyncio.get_running_loop():
            self._pipe.close()
            self._pipe = None

    def close(self) -> None:
        """Close the connections of threads."""
        self._redis.close()

    def _connected(self) -> RedisPipe:
        pipe, loop = self._pipe, asyncio.get_running_loop()
        if pipe is None or pipe.loop is not loop or pipe.at != self._at:
            if pipe is not None and pipe.loop is loop:
                pipe.leave()  # others of this loop may still wait for its answers, which name the other node as well
            pipe = RedisPipe(self._url, self._at, connect_seconds=CONNECT_SECONDS, answer_seconds=ANSWER_SECONDS)
            self._pipe = pipe
        return pipe

    def _move(self, moved: MovedError) -> None:
        """The counters are at another node of the cluster; one that does not know its own name is where the URL says."""
        at = (moved.host or options_of(self._url, None).get("host", "localhost"), moved.port)
        if at != self._at:
            self._at, self._redis = at, _client(self._url, at)

    def _raise_while_away(self) -> None:
        if time.monotonic() < self._away_until:
            raise CountersAway("the counters in Redis cannot be reached")

    def _away(self, error: Exception) -> CountersAway:
        """For a moment nobody asks; then where the URL says: of a cluster another node may have the counters by then."""
        self._away_until = time.monotonic() + AWAY_SECONDS
        if self._at is not None:
            self._at, self._redis = None, _client(self._url, None)
        if isinstance(error, hiredis.ReplyError | redis.ResponseError):
            logger.warning("Redis refuses to count: %s", error)
            return CountersAway(f"the counters in Redis refuse: {error}")
        return CountersAway("the counters in Redis cannot be reached", unheard=True)


def _client(url: str, at: Address | None) -> "redis.Redis":
    options = options_of(url, at)
    times = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": CONNECT_SECONDS}
    return redis.Redis.from_pool(redis.ConnectionPool(**{**times, "decode_responses": True, **options}))


def _ok(answer: Sequence[str]) -> list[str]:
    if answer[0] != "ok":
        raise CountersAway("the counters are being counted anew from the ledger")
    return list(answer[1:])
