"""The life of a hold: settled by its call's entry, released when the call fails, gone when its lease ends."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from spanledger.limits import Check
from tests.limits.made import Clock, add, ask, entries, entry, limits, stands

CENT = 10**10


def test_the_arriving_entry_replaces_the_hold_by_what_the_call_cost(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="cost_usd", amount=5)
    hold = of.check(Check(max_output_tokens=1000)).hold_id
    assert stands(of, limit) == [((), 0, 100 * CENT)]
    of.post(entries(entry(clock, hold_id=hold)))
    assert stands(of, limit) == [((), CENT, 0)]


def test_an_entry_delivered_twice_settles_once(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="cost_usd", amount=5)
    hold = of.check(Check(max_output_tokens=1000)).hold_id
    other = of.check(Check(max_output_tokens=1000)).hold_id
    of.post(entries(entry(clock, hold_id=hold), entry(clock, hold_id=hold, kind="duplicate", calls=0, cost_usd="0")))
    assert stands(of, limit) == [((), CENT, 100 * CENT)]
    assert other != hold


def test_a_failed_call_releases_its_hold(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="cost_usd", amount=1)
    hold = of.check(Check(max_output_tokens=1000)).hold_id
    of.post(entries(entry(clock, hold_id=hold, outcome="error", cost_usd=None, input_tokens=None, output_tokens=None)))
    assert stands(of, limit) == []


def test_a_lost_clients_hold_ends_with_its_lease_and_is_counted(tmp_path: Path) -> None:
    clock, metrics = Clock(), CollectorRegistry()
    of = limits(tmp_path, clock, metrics=metrics)
    add(of)
    verdict = of.check(Check(lease_seconds=60))
    assert verdict.expires_at == clock() + timedelta(seconds=60)
    clock.pass_(seconds=59)
    assert ask(of) == "refuse"
    clock.pass_(seconds=1)
    assert ask(of) == "warn"
    assert metrics.get_sample_value("spanledger_holds_leaked_total") == 1
    answers = {name: metrics.get_sample_value("spanledger_checks_total", {"verdict": name}) for name in ("refuse", "warn")}
    assert answers == {"refuse": 1, "warn": 2}


def test_an_extended_lease_holds_until_its_new_end(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of)
    hold = of.check(Check(lease_seconds=60)).hold_id or ""
    clock.pass_(seconds=50)
    assert of.extend(hold, 60) == clock() + timedelta(seconds=60)
    clock.pass_(seconds=59)
    assert ask(of) == "refuse"
    clock.pass_(seconds=1)
    assert ask(of) == "warn"


def test_an_entry_that_arrives_after_the_lease_counts_all_the_same(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="cost_usd", amount=5)
    hold = of.check(Check(lease_seconds=1)).hold_id
    clock.pass_(seconds=5)
    of.post(entries(entry(clock, hold_id=hold)))
    assert stands(of, limit) == [((), CENT, 0)]


def test_a_hold_settled_by_hand_is_replaced_by_its_entry_and_counted_once(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="cost_usd", amount=5)
    hold = of.check(Check(max_output_tokens=1000)).hold_id or ""
    assert of.settle(hold, cost_usd=Decimal("0.02"))
    assert stands(of, limit) == [((), 0, 2 * CENT)]
    of.post(entries(entry(clock, hold_id=hold)))
    assert stands(of, limit) == [((), CENT, 0)]


def test_what_was_settled_is_not_taken_back_by_a_release(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, amount=1)
    hold = of.check(Check()).hold_id
    assert hold is not None
    assert of.settle(hold, input_tokens=1, output_tokens=1)
    assert not of.release(hold)
    assert stands(of, limit) == [((), 0, 1)]


def test_a_call_that_was_settled_after_a_window_began_counts_there_until_its_entry_says_where(tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 11, 25, 23, 59, 57, tzinfo=UTC))
    of = limits(tmp_path, clock)
    limit = add(of, amount=1, thresholds=[])
    hold = of.check(Check()).hold_id
    assert hold is not None
    clock.pass_(seconds=4)
    began = clock()
    clock.pass_(seconds=1)
    of.settle(hold, input_tokens=1, output_tokens=1)
    assert ask(of) == "refuse"
    of.post(entries(entry(clock, hold_id=hold, occurred_at=began)))
    assert stands(of, limit) == [((), 1, 0)]


def test_what_was_settled_is_of_the_measure_in_which_it_was_said(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, measure="cost_usd", amount=5)
    hold = of.check(Check(input_tokens=100, max_output_tokens=500)).hold_id
    assert hold is not None
    of.settle(hold, cost_usd=Decimal("0.25"))
    limit = of.update(limit.id, {"amount": 4}, who="ann")
    assert stands(of, limit) == [((), 0, 250_000_000_000)]
    limit = of.update(limit.id, {"measure": "tokens", "amount": 1_000}, who="ann")
    assert stands(of, limit) == [((), 0, 600)]


def test_tokens_settle_a_hold_at_the_price_of_its_check(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, measure="cost_usd", amount=5)
    hold = of.check(Check(max_output_tokens=1000)).hold_id or ""
    assert of.settle(hold, input_tokens=3, output_tokens=20)
    assert stands(of, limit) == [((), 0, 2 * CENT)]


def test_what_was_settled_by_hand_stays_counted_when_no_entry_ever_comes(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="cost_usd", amount=5, window="month")
    hold = of.check(Check(max_output_tokens=1000)).hold_id or ""
    of.settle(hold, cost_usd=Decimal("0.02"))
    clock.pass_(hours=3)
    of.keep()
    assert stands(of, limit) == [((), 2 * CENT, 0)]
    assert of.counts()["leaked"] == 0


def test_releasing_settling_and_extending_what_is_gone_says_so(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of)
    hold = of.check(Check()).hold_id or ""
    assert of.release(hold)
    assert not of.release(hold)
    assert not of.settle(hold, cost_usd=Decimal(1))
    assert of.extend(hold, 10) is None


def test_a_waiting_check_passes_as_soon_as_a_hold_settles(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of)
    hold = of.check(Check()).hold_id or ""

    async def run() -> str:
        waiting = asyncio.create_task(of.ask(Check(wait_ms=10_000)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await asyncio.to_thread(of.release, hold)
        return (await asyncio.wait_for(waiting, 8)).verdict

    assert asyncio.run(run()) == "warn"


def test_a_check_does_not_wait_for_what_waiting_cannot_change(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of, amount=0)

    async def run() -> str:
        return (await asyncio.wait_for(of.ask(Check(wait_ms=10_000)), 5)).verdict

    assert asyncio.run(run()) == "refuse"


def test_a_waiting_check_is_refused_when_its_time_is_up(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of)
    ask(of)
    verdict = asyncio.run(of.ask(Check(wait_ms=50)))
    assert verdict.verdict == "refuse"
    assert verdict.refused[0].retry_after_seconds == 1


def test_a_check_that_waits_is_refused_once_its_subject_is_paused(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of)
    hold = of.check(Check(tenant="acme")).hold_id or ""

    async def run() -> list[str]:
        waiting = asyncio.create_task(of.ask(Check(tenant="acme", wait_ms=10_000)))
        await asyncio.sleep(0.05)
        of.admin.pause({"tenant": "acme"}, reason="stop", who="ann")
        of.release(hold)
        return [one.limit for one in (await waiting).refused]

    assert asyncio.run(run()) == ["paused"]


@pytest.mark.parametrize(
    "change",
    [{"window": "rolling 1h"}, {"window": "month"}, {"measure": "tokens", "amount": 30}, {"per": ["user"]}, {"amount": 3}],
    ids=str,
)
def test_calls_in_flight_stay_held_when_their_limit_changes(tmp_path: Path, change: dict[str, Any]) -> None:
    clock = Clock()
    of = limits(tmp_path, clock, folder=tmp_path)
    limit = add(of, amount=3, thresholds=[])
    holds = [of.check(Check(user="u", input_tokens=5, max_output_tokens=5)).hold_id for _ in range(3)]
    of.update(limit.id, change, who="ann")
    assert ask(of, user="u", input_tokens=5, max_output_tokens=5) == "refuse"
    of.release(holds[0] or "")
    assert ask(of, user="u", input_tokens=5, max_output_tokens=5) == "allow"
    again = limits(tmp_path, clock, folder=tmp_path)
    assert ask(again, user="u", input_tokens=5, max_output_tokens=5) == "refuse"


def test_a_new_limit_and_a_new_tier_cover_the_calls_in_flight(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    pro, ent = (of.admin.put_tier({"name": name, "members": ["acme"][: name == "pro"]}, who="ann") for name in ("pro", "ent"))
    for tier in (pro, ent):
        add(of, tier=tier.name, amount=2, thresholds=[])
    assert ask(of, tenant="acme") == "allow"
    new = add(of, amount=1, thresholds=[])
    assert stands(of, new) == [((), 0, 1)]
    of.delete(new.id, who="ann")
    of.admin.put_tier({"members": []}, tier_id=pro.id, who="ann")
    of.admin.put_tier({"members": ["acme"]}, tier_id=ent.id, who="ann")
    assert [ask(of, tenant="acme") for _ in range(2)] == ["allow", "refuse"]
