"""Holds smaller than the worst case: learned or fixed, with a bound that is stated and kept."""

import errno
import gc
import os
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanledger.limits import Check, learned
from tests.limits.made import Clock, add, ask, entries, entry, limits, stands
from tests.limits.test_post import history

CALL: dict[str, Any] = {"model": "m", "operation": "chat", "tenant": "t", "agent": "a"}


def used(clock: Clock, tokens: int, **more: Any) -> dict[str, Any]:
    columns = {"requested_model": "m", "model": "m", "operation": "chat", "tenant": "t", "agent": "a"} | more
    return entry(clock, **columns, output_tokens=tokens, cost_usd=Decimal(tokens) / 1000)


def test_a_learned_hold_is_the_quantile_of_what_such_calls_used(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="output_tokens", amount=100_000, hold="learned", quantile="0.9")
    ask(of, **CALL, max_output_tokens=4000)
    assert stands(of, limit) == [((), 0, 4000)], "too few calls to learn from: the worst case"
    of.post(entries(*(used(clock, n) for n in range(1, 101))))
    verdict = of.check(Check(**CALL, max_output_tokens=4000))
    assert stands(of, limit) == [((), 5050, 4000 + 91)]
    of.release(verdict.hold_id or "")
    of.check(Check(model="m", operation="chat", tenant="new", max_output_tokens=50))
    assert stands(of, limit) == [((), 5050, 4000 + 50)], "never more than the worst case"


@pytest.mark.parametrize("operation", ["chat", "text_completion"])
def test_a_check_that_names_no_operation_learns_from_all_calls_of_its_model(operation: str, tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="output_tokens", amount=100_000, hold="learned")
    of.post(entries(*(used(clock, 100, operation=operation) for _ in range(25))))
    of.check(Check(model="m", tenant="t", max_output_tokens=4000))
    assert stands(of, limit) == [((), 2500, 100)]


def test_no_end_of_strangers_makes_what_is_learned_forget_whom_nobody_calls_and_none_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "MOST_KINDS", 12)
    clock, of = Clock(), learned.Learned()
    for stranger in range(60):
        of.observe(entries(*(used(clock, 100 + stranger, agent=agent) for agent in ("a", f"stranger {stranger}"))))
    assert len(of._recent) == 12
    # "a" has samples of its own; a stranger of long ago is taken for any.
    assert of.quantile(Check(**CALL), Decimal(0)) == (10, 100)
    assert of.quantile(Check(**CALL | {"agent": "stranger 0"}), Decimal(0)) == (10, 100)
    assert len(of._recent[("m", "chat", "t", "a")]._outputs) == 60


def test_what_was_learned_is_known_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="output_tokens", amount=100_000, hold="learned")
    with history(tmp_path, *(used(clock, 100) for _ in range(30))) as connection:
        of.rebuild(connection)
    ask(of, **CALL, max_output_tokens=4000)
    assert stands(of, limit) == [((), 3000, 100)]


def test_a_fixed_hold_is_what_the_limit_says_and_never_more_than_the_call(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, measure="cost_usd", amount=10, hold="fixed", hold_amount="0.05")
    ask(of, max_output_tokens=1000)
    assert stands(of, limit) == [((), 0, 5 * 10**10)]
    ask(of, max_output_tokens=10)
    assert stands(of, limit) == [((), 0, 6 * 10**10)]


def test_small_holds_never_let_a_limit_be_passed_by_more_than_its_stated_bound(tmp_path: Path) -> None:
    random.seed(5)
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="output_tokens", amount=10_000, hold="fixed", hold_amount=10, overshoot=1_000)
    flying: list[tuple[str, int]] = []
    for _ in range(3_000):
        most = random.randint(1, 800)
        verdict = of.check(Check(max_output_tokens=most))
        if verdict.hold_id:
            flying.append((verdict.hold_id, most))
        if flying and random.random() < 0.4:
            hold, most = flying.pop(random.randrange(len(flying)))
            of.post(entries(entry(clock, hold_id=hold, output_tokens=most)))
    of.post(entries(*(entry(clock, hold_id=hold, output_tokens=most) for hold, most in flying)))
    [(_, total, held)] = stands(of, limit)
    assert held == 0
    assert 10_000 < total <= 11_000
    assert limit.overshoot_bound == 1_000


def test_what_a_refusal_says_would_fit_fits_and_a_token_more_does_not(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of, measure="cost_usd", amount="1", hold="fixed", hold_amount="0.01", overshoot="0.5", thresholds=[])
    asks: dict[str, Any] = {"input_tokens": 0, "max_output_tokens": 400}
    assert [ask(of, **asks) for _ in range(3)] == ["allow"] * 3
    [refused] = of.check(Check(**asks)).refused
    assert refused.fits == {"cost_usd": "0.3", "max_output_tokens": "300"}
    assert [ask(of, input_tokens=0, max_output_tokens=tokens, dry_run=True) for tokens in (300, 301)] == ["allow", "refuse"]


def test_small_holds_let_more_calls_pass_than_the_worst_case_would(tmp_path: Path) -> None:
    passed = {}
    for hold in ("worst_case", "fixed"):
        of = limits(tmp_path, Clock())
        add(of, measure="cost_usd", amount=1, hold=hold, hold_amount="0.01", selectors={"tenant": hold}, overshoot=1)
        passed[hold] = sum(ask(of, tenant=hold, max_output_tokens=100) != "refuse" for _ in range(50))
    assert passed == {"worst_case": 10, "fixed": 20}


def test_holds_survive_a_kill_and_are_settled_by_the_spans_that_come_after_it(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock, folder=tmp_path)
    limit = add(of, measure="cost_usd", amount=1, thresholds=[])
    kept, settled, released, expired = (of.check(Check(max_output_tokens=n, lease_seconds=s)).hold_id or "" for n, s in (
        (100, 600), (200, 600), (300, 600), (50, 5)))  # fmt: skip
    of.settle(settled, cost_usd=Decimal("0.02"))
    of.release(released)
    with (tmp_path / "holds.log").open("ab") as log:
        log.write(b'["cut off in the mid')
    clock.pass_(seconds=10)
    again = limits(tmp_path, clock, folder=tmp_path)
    assert stands(again, limit) == [((), 0, 12 * 10**10)]
    assert not again.release(expired)
    again.post(entries(entry(clock, hold_id=kept), entry(clock, hold_id=settled)))
    assert stands(again, limit) == [((), 2 * 10**10, 0)]
    third = limits(tmp_path, clock, folder=tmp_path)
    assert stands(third, limit) == []


def test_a_hold_of_more_than_64_bits_survives_a_kill(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock, folder=tmp_path)
    limit = add(of, measure="cost_usd", amount=10**12, thresholds=[])
    assert ask(of, max_output_tokens=10**12) == "allow"
    assert stands(limits(tmp_path, clock, folder=tmp_path), limit) == [((), 0, 10**21)]


def test_live_holds_are_nothing_that_the_garbage_collector_must_look_through(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock(), folder=tmp_path)
    add(of, amount=10**9, thresholds=[], per=["user"])
    add(of, measure="tokens", amount=10**12, thresholds=[], window="rolling 1h", per=["user"])
    ask(of, user="u-0", lease_seconds=86_400)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(3_000):
        assert ask(of, user=f"u-{number % 10}", lease_seconds=86_400, max_output_tokens=1, tags={"a": "b"}) == "allow"
    gc.collect()
    assert len(gc.get_objects()) - before < 1_000


def test_the_log_of_holds_does_not_grow_without_end(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock, folder=tmp_path)
    add(of, amount=10**9, thresholds=[])
    for _ in range(30_000):
        of.release(of.check(Check()).hold_id or "")
    kept = of.check(Check()).hold_id
    assert (tmp_path / "holds.log").stat().st_size > 4 * 1024 * 1024
    of.keep()
    assert (tmp_path / "holds.log").stat().st_size <= 1024 * 1024
    of.check(Check())
    again = limits(tmp_path, clock, folder=tmp_path)
    assert again.find_hold(kept or "") is not None
    assert again.counts()["holds"] == 2


def test_checks_go_on_when_the_disk_has_no_room_for_the_log_and_it_is_whole_again_when_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    of = limits(tmp_path, clock, folder=tmp_path)
    add(of, amount=10**9, thresholds=[])

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    kept = [of.check(Check()).hold_id or "" for _ in range(6_000)]
    assert all(kept)
    of.keep()
    assert of.check(Check()).hold_id
    monkeypatch.undo()
    of.keep()
    of.release(kept[0])
    again = limits(tmp_path, clock, folder=tmp_path)
    assert again.counts()["holds"] == 6_000
    assert again.find_hold(kept[-1]) is not None
