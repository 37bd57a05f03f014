"""Redis goes away, comes back, hangs and forgets: what two collectors say meanwhile, and what is counted after."""

import asyncio
import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest

from spanledger.ledger.frame import conform
from spanledger.limits import Check, Verdict, keeper
from spanledger.limits.counters import redis_script
from spanledger.limits.counters.counters import CountersAway
from tests.limits.collectors import Collectors, kept
from tests.limits.made import ask, entries, entry, stands, until


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


def test_a_redis_that_hangs_delays_one_call_and_not_the_next(both: Collectors, monkeypatch: pytest.MonkeyPatch) -> None:
    both.add(amount=5, on_failure="closed")
    monkeypatch.setattr(redis_script, "AWAY_SECONDS", 60.0)
    monkeypatch.setattr(redis_script, "ANSWER_SECONDS", 0.5)
    script = both.one._counters._script  # type: ignore[attr-defined]
    script._redis = redis_script._client(both.redis.url, None)
    both.redis.pause()
    try:
        assert ask(both.one) == "refuse"
        until_then = script._away_until
        assert ask(both.one) == "refuse"
        assert script._away_until == until_then, "Redis was asked again, and its time-out waited for"
    finally:
        both.redis.go_on()
    script._away_until = 0.0
    until(lambda: ask(both.one) == "allow")


@pytest.mark.parametrize("seconds", [1, 3 * 3_600])
def test_what_was_posted_while_redis_was_away_is_counted_once_it_is_back(tmp_path: Path, both: Collectors, seconds: int) -> None:
    both.redis.keep()
    for of in (both.one, both.two):
        until(lambda of=of: kept(of))  # type: ignore[misc]
    limit = both.add(amount=100, window="lifetime")
    both.post(both.one, entry(both.clock))
    both.redis.kill()
    both.post(both.one, entry(both.clock))
    both.clock.pass_(seconds=seconds)
    both.post(both.one, entry(both.clock))
    both.redis.start()
    until(lambda: kept(both.one) and stands(both.two, limit) == [((), 3, 0)])


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
    live = both.one.check(Check()).hold_id
    settled = both.two.check(Check()).hold_id
    both.post(both.one, entry(both.clock, hold_id=settled))
    for _ in range(2):
        assert both.two.release(both.one.check(Check()).hold_id or "")
    kept(both.one)
    both.redis.kill()
    both.redis.start()
    until(lambda: kept(both.two) and kept(both.one))
    assert stands(both.one, limit) == [((), 8, 1)]
    both.post(both.two, entry(both.clock, hold_id=live))
    assert stands(both.one, limit) == [((), 9, 0)]


def test_a_limit_that_is_made_while_redis_is_away_counts_the_ledger_once_it_is_back(
    both: Collectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FOLLOWED_SECONDS", 0)
    both.redis.keep()
    until(lambda: kept(both.one) and kept(both.two))
    both.post(both.one, *(entry(both.clock) for _ in range(3)))
    both.clock.pass_(seconds=1)
    both.redis.kill()
    limit = both.add(amount=100)
    both.one.keep()
    both.redis.start()
    until(lambda: kept(both.one) and stands(both.two, limit) == [((), 3, 0)])


def test_what_no_limit_covered_when_it_came_is_counted_once_by_a_new_limit_and_not_again_by_a_start(both: Collectors) -> None:
    both.post(both.one, *(entry(both.clock) for _ in range(3)))
    both.clock.pass_(seconds=1)
    limit = both.add(amount=100)
    third = both._limits()
    assert stands(third, limit) == [((), 3, 0)]
    third.close()


def test_what_was_recorded_before_a_limit_was_counted_and_committed_after_it_is_counted_by_a_start(
    both: Collectors,
) -> None:
    frame = entries(entry(both.clock))
    both.clock.pass_(seconds=1)
    limit = both.add(amount=100)
    both.ledger.post(conform(frame), None)
    third = both._limits()
    assert stands(third, limit) == [((), 1, 0)]
    third.close()


def test_what_a_redis_lost_of_its_last_second_is_posted_and_held_again(tmp_path: Path, both: Collectors) -> None:
    both.redis.keep()
    until(lambda: kept(both.one))
    limit = both.add(amount=100)
    both.post(both.one, entry(both.clock))
    before = [of.check(Check()).hold_id or "" for of in (both.one, both.two)]
    shutil.copytree(tmp_path / "redis", tmp_path / "a second ago")
    both.post(both.one, entry(both.clock))
    assert both.two.release(before[0])
    assert both.one.check(Check()).hold_id
    assert both.two.check(Check()).hold_id
    both.one.keep()
    both.redis.kill()
    shutil.rmtree(tmp_path / "redis")
    (tmp_path / "a second ago").rename(tmp_path / "redis")
    both.redis.start()
    until(lambda: kept(both.one) and kept(both.two) and stands(both.two, limit) == [((), 2, 3)])


def test_a_hold_that_ended_at_another_collector_is_not_put_back_by_one_that_has_not_heard_of_it(both: Collectors) -> None:
    limit = both.add(amount=100)
    arrived, released, live = [both.one.check(Check()).hold_id or "" for _ in range(3)]
    both.post(both.two, entry(both.clock, hold_id=arrived))
    assert both.two.release(released)
    both.one._counters.restore()  # type: ignore[attr-defined]
    assert stands(both.two, limit) == [((), 1, 1)]
    both.post(both.one, entry(both.clock, hold_id=live))
    assert stands(both.two, limit) == [((), 2, 0)]


def test_a_check_that_redis_passes_once_nobody_waits_for_it_any_more_holds_nothing(
    both: Collectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = both.add(amount=100, on_failure="closed")
    monkeypatch.setattr(redis_script, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(redis_script, "AWAY_SECONDS", 0.0)
    for of in (both.one, both.two):
        of._counters._script._redis = redis_script._client(both.redis.url, None)  # type: ignore[attr-defined]
    released = both.one.check(Check()).hold_id or ""

    async def soon() -> list[str]:
        verdict = (await asyncio.gather(*(both.two.ask(Check()) for _ in range(3))))[-1].verdict
        left = asyncio.create_task(both.two.ask(Check()))
        await asyncio.sleep(0.1)
        left.cancel()
        await asyncio.wait([left])
        await both.two.leave()
        return [verdict]

    both.redis.pause()
    try:
        assert [ask(both.one), *asyncio.run(soon())] == ["refuse", "refuse"]
        with pytest.raises(CountersAway):
            both.one.release(released)
    finally:
        both.redis.go_on()
    until(lambda: kept(both.one) and kept(both.two) and stands(both.two, limit) in ([], [((), 0, 0)]))


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
