"""Calls in flight when limits change: with Redis, too, a limit that is new or changed holds them, at every collector."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from spanledger.limits import Check, Limit, Limits, keeper
from spanledger.limits.counters.counters import Place
from tests.limits.collectors import Collectors, kept
from tests.limits.made import Clock, add, ask, entry, limits, stands, until


def held(by: Limits, count: int, **fields: Any) -> list[str]:
    """The holds of so many calls in flight."""
    return [by.check(Check(input_tokens=5, max_output_tokens=5, **fields)).hold_id or "" for _ in range(count)]


def test_a_new_limit_holds_the_calls_in_flight_of_all_collectors(both: Collectors) -> None:
    both.add(amount=100)
    mine, other = held(both.one, 3, session="s"), held(both.two, 3, session="s")
    new = both.one.create(
        {"name": "new", "measure": "tokens", "amount": 80, "window": "rolling 1h", "per": ["session"], "thresholds": []},
        who="ann",
    )
    assert stands(both.one, new) == [(("s",), 0, 60)]
    # Until a collector follows, its calls are asked by the old limits; then they are held like all others.
    stray = held(both.two, 1, session="s")
    assert stands(both.one, new) == [(("s",), 0, 60)]
    both.two.keep()
    assert stands(both.one, new) == [(("s",), 0, 70)]
    assert [ask(of, session="s", input_tokens=5, max_output_tokens=5) for of in (both.one, both.two)] == ["allow", "refuse"]
    both.post(both.two, entry(both.clock, session="s", hold_id=mine[0]))
    assert both.one.settle(other[0], input_tokens=1, output_tokens=1)
    assert both.one.release(stray[0])
    assert stands(both.two, new) == [(("s",), 20, 52)]
    both.one.delete(new.id, who="ann")
    [hold] = [both.two.find_hold(other[1])]
    assert hold is not None
    assert [part.place.limit_id == new.id for part in hold.parts] == [False]


@pytest.mark.parametrize(
    "change",
    [{"window": "rolling 1h"}, {"window": "month"}, {"measure": "tokens", "amount": 30}, {"per": ["user"]}, {"amount": 3}],
    ids=str,
)
def test_calls_in_flight_stay_held_when_their_shared_limit_changes(both: Collectors, change: dict[str, Any]) -> None:
    limit = both.add(amount=3)
    holds = [*held(both.one, 2, user="u"), *held(both.two, 1, user="u")]
    both.two.update(limit.id, change, who="ann")
    both.one.keep()
    for of in (both.one, both.two):
        assert not of.check(Check(user="u", input_tokens=5, max_output_tokens=5)).allowed
    assert both.two.release(holds[0])
    assert held(both.one, 2, user="u")[1] == ""


def test_who_moves_to_another_tier_takes_the_calls_in_flight_along_at_every_collector(both: Collectors) -> None:
    for name, default in (("free", True), ("pro", False)):
        both.one.admin.put_tier({"name": name, "is_default": default}, who="ann")
    free, pro = (both.add(tier=name, amount=5) for name in ("free", "pro"))
    held(both.one, 2, tenant="acme")
    held(both.two, 1, tenant="acme")
    [tier] = [tier for tier in both.one.admin.tiers() if tier.name == "pro"]
    both.one.admin.put_tier({"members": ["acme"]}, tier_id=tier.id, who="ann")
    held(both.two, 1, tenant="acme")
    both.two.keep()
    assert (stands(both.two, free), stands(both.two, pro)) == ([], [(("acme",), 0, 4)])
    both.two.admin.put_tier({"members": []}, tier_id=tier.id, who="ann")
    both.one.keep()
    assert (stands(both.one, free), stands(both.one, pro)) == ([(("acme",), 0, 4)], [])


def test_a_change_is_followed_though_the_clock_of_its_collector_is_behind(
    both: Collectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = both.add(amount=5)
    both.one.keep()
    monkeypatch.setattr(both.two._control, "_clock", lambda: datetime.now(UTC) - timedelta(hours=1))
    changed = both.two.update(limit.id, {"amount": 1}, who="tests")
    both.one.keep()
    assert both.one.get(limit.id) == changed


def test_what_is_held_anew_is_held_again_by_the_limits_of_now_when_redis_forgets(both: Collectors) -> None:
    both.add(amount=100)
    held(both.one, 2)
    held(both.two, 3)
    new = both.add(amount=10)
    both.redis.kill()
    both.redis.start()
    until(lambda: kept(both.one) and kept(both.two))
    assert stands(both.one, new) == [((), 0, 5)]


def test_a_limit_that_is_made_while_redis_is_away_holds_the_calls_in_flight_once_it_is_back(
    both: Collectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FOLLOWED_SECONDS", 0)
    both.redis.keep()
    until(lambda: kept(both.one) and kept(both.two))
    both.add(amount=100)
    held(both.one, 2)
    held(both.two, 1)
    both.redis.kill()
    new = both.add(amount=10)
    both.one.keep()
    both.redis.start()
    until(lambda: kept(both.one) and stands(both.two, new) == [((), 0, 3)])


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_check_that_a_limit_overtakes_is_asked_by_it(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of: Limits = limits(tmp_path, Clock()) if kind == "memory" else request.getfixturevalue("both").one
    made: list[Limit] = []

    def overtaken(step: str) -> None:
        original = getattr(of._counters, step)

        def late(*words: Any) -> Any:
            monkeypatch.undo()
            made.append(add(of, amount=1, thresholds=[]))
            return original(*words)

        monkeypatch.setattr(of._counters, step, late)

    async def soon() -> Any:
        answer = await of.ask(Check())
        await of.leave()
        return answer

    add(of, amount=10, thresholds=[])
    overtaken("hold")
    assert ask(of) == "allow"
    overtaken("hold_soon")
    assert [one.limit for one in asyncio.run(soon()).refused] == [made[0].name]
    assert [stands(of, limit) for limit in made] == [[((), 0, 1)]] * 2


def test_what_is_held_is_the_sum_of_all_holds_however_limits_change_among_checks(both: Collectors) -> None:
    for _ in range(2):
        both.add(amount=1_000, measure="tokens", per=["user"])
    changes: list[dict[str, Any]] = [{"window": "rolling 1h"}, {"measure": "requests"}, {"per": []}, {"enabled": False}]
    done = threading.Event()

    async def calls(of: Limits) -> None:
        while not done.is_set():
            wanted = [Check(user=f"u{n % 3}", input_tokens=n, max_output_tokens=1) for n in range(6)]
            found = [answer.hold_id for answer in await asyncio.gather(*map(of.ask, wanted))]
            for number, hold_id in enumerate(found):
                if hold_id is not None and number % 3 == 0:
                    await asyncio.to_thread(of.release, hold_id)
                elif hold_id is not None and number % 3 == 1:
                    await asyncio.to_thread(of.settle, hold_id, input_tokens=1, output_tokens=0)
        await of.leave()

    workers = [threading.Thread(target=lambda of=of: asyncio.run(calls(of))) for of in (both.one, both.two)]
    for worker in workers:
        worker.start()
    for number, change in enumerate(changes):
        both.one.update(both.one.all()[number % 2].id, change, who="ann")
        both.two.keep()
    done.set()
    for worker in workers:
        worker.join()
    with redis.Redis.from_url(both.redis.url, decode_responses=True) as client:
        ids: Any = client.zrange("{spanledger}:leases", 0, -1)
    counters: Any = both.one._counters
    live = [hold for hold in map(counters.find, ids) if hold is not None]
    sums: dict[Place, tuple[int, int]] = {}
    for hold in live:
        assert {part.place.limit_id for part in hold.parts} == {limit.id for limit in both.one.covering.enabled}
        for place, size, worst in hold.parts:
            held, most = sums.get(place, (0, 0))
            sums[place] = held + size, most + worst
    assert live
    found = counters.read(list(sums), both.one.micros())
    assert {place: (one.held, one.worst) for place, one in zip(sums, found, strict=True)} == sums
