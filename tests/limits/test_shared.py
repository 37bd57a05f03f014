"""Two collectors, one Redis: a limit holds over both."""

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis

from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.limits import Check, Limits
from tests.limits.collectors import Collectors, kept
from tests.limits.made import ask, entries, entry, stands, until


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


def test_a_limit_that_is_counted_between_the_commit_of_an_entry_and_its_posting_counts_it_once(both: Collectors) -> None:
    older = both.add(amount=100)
    frame = entries(entry(both.clock))
    both.ledger.post(conform(frame), None)
    newer = both.add(amount=100)
    assert (stands(both.one, older), stands(both.one, newer)) == ([], [((), 1, 0)])
    both.two.post(frame)
    both.two.post(frame)
    assert (stands(both.one, older), stands(both.one, newer)) == ([((), 1, 0)], [((), 1, 0)])


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
    both.redis.keep()
    until(lambda: kept(both.one))
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
    until(lambda: kept(both.two))
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
    assert len(both.one._counters._own) == 600  # type: ignore[attr-defined]


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


def test_what_is_released_takes_nothing_else_out_of_a_rolling_window_whatever_the_clock_says(both: Collectors) -> None:
    both.clock.pass_(hours=-3)
    limit = both.add(amount=9, window="rolling 1m")
    holds = [both.one.check(Check()).hold_id or "" for _ in range(3)]
    both.post(both.one, entry(both.clock, hold_id=holds[0]))
    assert both.two.release(holds[1])
    assert both.two.settle(holds[2], input_tokens=1, output_tokens=1)
    assert stands(both.two, limit) == [((), 1, 1)]


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
    both.one._rules.count_again([limit.id])
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


def test_buckets_and_holds_are_counted_and_not_the_keys_that_redis_has(both: Collectors) -> None:
    limit = both.add(amount=100, per=["user"])
    for user in ("a", "b", "a"):
        both.one.check(Check(user=user))
    assert both.two.counts() == {"limits": 1, "buckets": 2, "holds": 3, "leaked": 0}
    fullest, total = both.two.buckets(limit, 1)
    assert ([bucket.key for bucket in fullest], total) == ([("a",)], 2)
