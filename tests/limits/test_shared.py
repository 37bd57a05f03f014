"""Two collectors, one Redis: a limit holds over both, and Redis may go away, come back and forget."""

import asyncio
import gc
import itertools
import shutil
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis

from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from spanledger.limits import Check, Limit, Limits, Verdict, keeper
from tests.limits.made import Clock, FlatPrice, ask, control, entries, entry, stands, until
from tests.limits.redis_server import RedisServer


class Collectors:
    """Two `Limits` as two collectors would have them: one control database, one ledger, one Redis."""

    def __init__(self, folder: Path, server: RedisServer, clock: Clock) -> None:
        self.redis, self.clock = server, clock
        self.ledger = Ledger.open(folder / "entries")
        self.folder = folder
        self.one, self.two = self._limits(), self._limits()

    def _limits(self) -> Limits:
        made = Limits(control(self.folder), FlatPrice(), clock=self.clock, history=self._history, counters=self.redis.url)
        with self._history() as connection:
            made.rebuild(connection)
        return made

    def _history(self) -> duckdb.DuckDBPyConnection:
        return connect(self.folder)

    def add(self, **fields: Any) -> Limit:
        given = {
            "name": f"limit {next(_numbers)}",
            "measure": "requests",
            "amount": 1,
            "window": "day",
            "thresholds": [],
        } | fields
        limit = self.one.create(given | fields, who="tests")
        self.two.keep()
        assert self.two.get(limit.id) == limit
        return limit

    def post(self, by: Limits, *rows: dict[str, Any]) -> None:
        frame = entries(*rows)
        with by.in_step():
            self.ledger.post(conform(frame), None)
            by.post(frame)


_numbers = itertools.count()


@pytest.fixture
def both(tmp_path: Path) -> Generator[Collectors]:
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", keeps=False)
    try:
        made = Collectors(tmp_path, server, Clock(datetime.now(UTC)))
        yield made
        made.one.close()
        made.two.close()
    finally:
        server.kill()


def test_200_clients_of_two_collectors_get_exactly_what_is_there(both: Collectors) -> None:
    limit = both.add(measure="cost_usd", amount="5.00")

    async def client(of: Limits) -> int:
        return sum([(await of.ask(Check(max_output_tokens=10))).allowed for _ in range(5)])

    async def run() -> int:
        passed = sum(await asyncio.gather(*(client(of) for of in (both.one, both.two) for _ in range(100))))
        await both.one.leave()
        await both.two.leave()
        return passed

    assert asyncio.run(run()) == 500
    assert stands(both.two, limit) == [((), 0, 5 * 10**12)]


def test_many_checks_at_once_are_answered_as_one_after_the_other(both: Collectors) -> None:
    both.add(measure="tokens", amount=100, per=["user"])
    sizes = [3, 60, 50, 30, 8, 7, 0, 1, 40, 40, 40, 20, 1, 1]

    async def at_once() -> list[bool]:
        answers = await asyncio.gather(*(both.one.ask(Check(user="a", input_tokens=n, max_output_tokens=0)) for n in sizes))
        await both.one.leave()
        return [answer.allowed for answer in answers]

    one_by_one = [both.two.check(Check(user="b", input_tokens=n, max_output_tokens=0)).allowed for n in sizes]
    assert asyncio.run(at_once()) == one_by_one
    assert set(one_by_one) == {True, False}


def test_checks_at_once_are_a_few_steps_of_redis_and_not_one_each(both: Collectors) -> None:
    both.add(amount=1_000)

    async def at_once() -> None:
        await asyncio.gather(*(both.one.ask(Check()) for _ in range(200)))
        await both.one.leave()

    def steps() -> int:
        with redis.Redis.from_url(both.redis.url) as client:
            found: Any = client.info("commandstats")
        return int(found["cmdstat_evalsha"]["calls"])

    before = steps()
    asyncio.run(at_once())
    assert steps() - before == 200 // 8


def test_checks_in_one_event_loop_find_a_redis_again_that_was_killed(tmp_path: Path, both: Collectors) -> None:
    both.redis._keeps = True
    both.redis.kill()
    both.redis.start()
    until(lambda: _kept(both.one))
    limit = both.add(amount=1_000)

    async def run() -> list[bool]:
        found = [(await both.one.ask(Check())).counters_away]
        both.redis.kill()
        found.append((await both.one.ask(Check())).counters_away)
        both.redis.start()
        deadline = time.monotonic() + 30
        while (await both.one.ask(Check(dry_run=True))).counters_away:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        await both.one.leave()
        return found

    assert asyncio.run(run()) == [False, True]
    until(lambda: _kept(both.two))
    assert stands(both.two, limit) == [((), 0, 1)]


def test_calls_in_flight_are_nothing_to_the_garbage_collector(both: Collectors) -> None:
    both.add(measure="tokens", amount=10**9, per=["user"])

    async def some() -> None:
        assert all([(await both.one.ask(Check(user=f"u-{n % 10}", tags={"a": "b"}))).hold_id for n in range(300)])

    async def run() -> int:
        await some()
        gc.collect()
        before = len(gc.get_objects())
        await some()
        gc.collect()
        grown = len(gc.get_objects()) - before
        await both.one.leave()
        return grown

    assert asyncio.run(run()) < 100
    assert len(both.one._counters._mine) == 600  # type: ignore[attr-defined]


def test_however_many_leases_end_at_once_all_of_them_are_free_again(both: Collectors) -> None:
    limit = both.add(amount=250)
    for _ in range(250):
        assert ask(both.one, lease_seconds=5) == "allow"
    both.clock.pass_(seconds=5)
    both.two.keep()
    assert stands(both.one, limit) == []
    assert both.one.counts()["leaked"] == 250


def test_the_span_settles_at_whichever_collector_it_arrives_and_counts_once(both: Collectors) -> None:
    limit = both.add(measure="cost_usd", amount="5.00", per=["user"])
    hold = both.one.check(Check(user="u", max_output_tokens=1000)).hold_id
    row = entry(both.clock, user="u", hold_id=hold)
    both.post(both.two, row)
    both.one.post(entries(row))
    assert stands(both.one, limit) == [(("u",), 10**10, 0)]


def test_what_another_collector_posts_while_a_limit_is_counted_is_neither_lost_nor_counted_twice(
    both: Collectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, other = both.add(amount=100, per=["user"]), both.add(amount=100)
    both.post(both.two, entry(both.clock, user="ü"))
    read = both._history

    def meanwhile() -> duckdb.DuckDBPyConnection:
        both.post(both.two, entry(both.clock, user="ü"))
        connection = read()
        both.post(both.two, entry(both.clock, user="ü"), entry(both.clock, user="v"))
        return connection

    monkeypatch.setattr(both.one._rules, "_history", meanwhile)
    both.one.reload(recount=[limit.id])
    assert stands(both.two, limit) == [(("v",), 1, 0), (("ü",), 3, 0)]
    assert stands(both.two, other) == [((), 4, 0)]


def test_what_is_reversed_or_re_rated_moves_shared_counters_once(both: Collectors) -> None:
    money, calls = both.add(measure="cost_usd", amount=5), both.add(amount=5)
    both.post(both.one, entry(both.clock, cost_usd="0.02"), entry(both.clock, cost_usd=None, cost_state="unpriced"))
    reversed_ = {"kind": "reversal", "calls": -1, "input_tokens": -10, "output_tokens": -10, "cost_usd": "-0.02"}
    both.post(both.two, entry(both.clock, **reversed_))
    assert (stands(both.one, money), stands(both.one, calls)) == ([], [((), 1, 0)])
    # Re-rating posts beside the collector's loop.
    rated = entries(entry(both.clock, kind="adjustment", calls=0, input_tokens=0, output_tokens=0, cost_usd="0.03"))
    both.ledger.post(conform(rated), None)
    for of in (both.one, both.two):
        with connect(both.folder) as connection:
            of.rebuild(connection)
        assert (stands(of, money), stands(of, calls)) == ([((), 3 * 10**10, 0)], [((), 1, 0)])


def test_pauses_and_changes_made_at_one_collector_hold_at_the_other(both: Collectors) -> None:
    limit = both.add(amount=5)
    both.two.admin.pause({"tenant": "acme"}, reason="stop", who="ann")
    both.one.keep()
    assert ask(both.one, tenant="acme") == "refuse"
    both.two.update(limit.id, {"amount": 0}, who="ann")
    both.one.keep()
    assert ask(both.one) == "refuse"
    both.two.delete(limit.id, who="ann")
    both.one.keep()
    assert ask(both.one) == "allow"


@pytest.mark.parametrize(("mode", "verdict"), [("open", "warn"), ("closed", "refuse")])
def test_while_redis_is_away_each_limit_fails_as_it_says_and_says_so(both: Collectors, mode: str, verdict: str) -> None:
    both.add(amount=5, on_failure=mode)
    both.redis.kill()
    began = time.monotonic()
    found = both.one.check(Check())

    async def run() -> list[Verdict]:
        answers = await asyncio.gather(*(both.two.ask(Check()) for _ in range(20)))
        await both.two.leave()
        return answers

    for answer in (found, *asyncio.run(run())):
        assert (answer.verdict, answer.counters_away, answer.hold_id) == (verdict, True, None)
        [one] = answer.warnings or answer.refused
        assert f"fails {mode}" in one.says
    for _ in range(50):
        both.one.check(Check())
    assert time.monotonic() - began < 20


def test_a_redis_that_hangs_delays_one_call_and_not_the_next(both: Collectors) -> None:
    both.add(amount=5, on_failure="closed")
    both.redis.pause()
    try:
        assert ask(both.one) == "refuse"
        began = time.monotonic()
        assert ask(both.one) == "refuse"
        assert time.monotonic() - began < 0.5
    finally:
        both.redis.go_on()
    until(lambda: ask(both.one) == "allow")


@pytest.mark.parametrize("seconds", [1, 3 * 3_600])
def test_what_was_posted_while_redis_was_away_is_counted_once_it_is_back(tmp_path: Path, both: Collectors, seconds: int) -> None:
    both.redis.kill()
    both.redis._keeps = True
    both.redis.start()
    for of in (both.one, both.two):
        until(lambda of=of: _kept(of))  # type: ignore[misc]
    limit = both.add(amount=100, window="lifetime")
    both.post(both.one, entry(both.clock))
    both.redis.kill()
    both.post(both.one, entry(both.clock))
    both.clock.pass_(seconds=seconds)
    both.post(both.one, entry(both.clock))
    both.redis.start()
    until(lambda: _kept(both.one) and stands(both.two, limit) == [((), 3, 0)])


def test_what_is_left_rolls_over_in_shared_counters_too(both: Collectors) -> None:
    limit = both.add(amount=10, rollover=1)
    both.clock.now += timedelta(days=1)
    both.post(both.one, *(entry(both.clock) for _ in range(4)))
    both.clock.now += timedelta(days=1)

    async def passed() -> int:
        count = sum([(await both.two.ask(Check())).allowed for _ in range(20)])
        await both.two.leave()
        return count

    assert asyncio.run(passed()) == 16
    assert both.one.check(Check()).refused[0].amount == "16"
    assert both.one.standing(limit, [()])[0].demand.cap == 16


def test_after_leaving_an_event_loop_checks_go_on_in_another_and_in_threads(both: Collectors) -> None:
    both.add(amount=6)

    async def some() -> list[str]:
        found: list[str] = [(await both.one.ask(Check())).verdict for _ in range(2)]
        await both.one.leave()
        await both.one.leave()
        return found

    assert asyncio.run(some()) == asyncio.run(some()) == ["allow", "allow"]
    assert [ask(both.one) for _ in range(3)] == ["allow", "allow", "refuse"]
    both.redis.kill()

    async def without() -> bool:
        away = (await both.one.ask(Check())).counters_away
        await both.one.leave()
        return away

    assert asyncio.run(without())


def test_a_refused_rolling_window_says_from_shared_counters_when_it_is_worth_asking_again(both: Collectors) -> None:
    both.add(amount=1, window="rolling 2m")
    both.post(both.one, entry(both.clock))
    both.clock.pass_(seconds=30)

    async def soon() -> int:
        refused = (await both.two.ask(Check())).refused[0].retry_after_seconds
        await both.two.leave()
        return refused

    assert asyncio.run(soon()) == both.one.check(Check()).refused[0].retry_after_seconds
    assert 88 <= both.one.check(Check()).refused[0].retry_after_seconds <= 91


def test_a_redis_that_forgot_everything_is_counted_anew_from_the_ledger_with_all_holds(both: Collectors) -> None:
    limit = both.add(amount=100)
    both.post(both.one, *(entry(both.clock) for _ in range(7)))
    kept = both.one.check(Check()).hold_id
    settled = both.two.check(Check()).hold_id
    both.post(both.one, entry(both.clock, hold_id=settled))
    for _ in range(2):
        assert both.two.release(both.one.check(Check()).hold_id or "")
    _kept(both.one)
    both.redis.kill()
    both.redis.start()
    until(lambda: _kept(both.two) and _kept(both.one))
    assert stands(both.one, limit) == [((), 8, 1)]
    both.post(both.two, entry(both.clock, hold_id=kept))
    assert stands(both.one, limit) == [((), 9, 0)]


def test_a_limit_that_is_made_while_redis_is_away_counts_the_ledger_once_it_is_back(
    both: Collectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FOLLOWED_SECONDS", 0)
    both.redis._keeps = True
    both.redis.kill()
    both.redis.start()
    until(lambda: _kept(both.one) and _kept(both.two))
    both.post(both.one, *(entry(both.clock) for _ in range(3)))
    both.clock.pass_(seconds=1)
    both.redis.kill()
    limit = both.add(amount=100)
    both.one.keep()
    both.redis.start()
    until(lambda: _kept(both.one) and stands(both.two, limit) == [((), 3, 0)])


def test_what_no_limit_covered_when_it_came_is_counted_once_by_a_new_limit_and_not_again_by_a_start(both: Collectors) -> None:
    both.post(both.one, *(entry(both.clock) for _ in range(3)))
    both.clock.pass_(seconds=1)
    limit = both.add(amount=100)
    third = both._limits()
    assert stands(third, limit) == [((), 3, 0)]
    third.close()


def test_what_a_redis_lost_of_its_last_second_is_posted_again(tmp_path: Path, both: Collectors) -> None:
    both.redis._keeps = True
    both.redis.kill()
    both.redis.start()
    until(lambda: _kept(both.one))
    limit = both.add(amount=100)
    both.post(both.one, entry(both.clock))
    shutil.copytree(tmp_path / "redis", tmp_path / "a second ago")
    both.post(both.one, entry(both.clock))
    both.redis.kill()
    shutil.rmtree(tmp_path / "redis")
    (tmp_path / "a second ago").rename(tmp_path / "redis")
    both.redis.start()
    until(lambda: _kept(both.one) and stands(both.two, limit) == [((), 2, 0)])


def test_a_collector_that_died_between_ledger_and_counters_makes_up_for_it(both: Collectors, tmp_path: Path) -> None:
    limit = both.add(amount=100)
    both.ledger.post(conform(entries(entry(both.clock))), None)
    assert stands(both.two, limit) == []
    third = both._limits()
    assert stands(third, limit) == [((), 1, 0)]
    fourth = both._limits()
    assert stands(fourth, limit) == [((), 1, 0)]
    third.close()
    fourth.close()


def _kept(of: Limits) -> bool:
    of.keep()
    return not of.check(Check(dry_run=True)).counters_away
