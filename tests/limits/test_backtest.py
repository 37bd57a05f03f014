"""What a limit would have done, over a history in which that can be counted by hand."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from spanledger.limits import Check, Limit
from spanledger.limits.backtest import Backtest, backtest
from spanledger.limits.terms import Grant, GrantKind, Terms
from tests.limits.made import NOON, Clock, add, entries, entry, limits
from tests.limits.test_post import history


def run(folder: Path, rows: list[dict[str, Any]], terms: Terms | None = None, **fields: Any) -> Backtest:
    given = {"name": "x", "measure": "cost_usd", "amount": "0.03", "window": "day", "thresholds": [1]} | fields
    folder = folder / uuid4().hex
    folder.mkdir()
    with history(folder, *rows) as connection:
        since, until = NOON - timedelta(days=10), NOON + timedelta(days=1)
        return backtest(connection, Limit.of(given, limit_id="x"), terms or Terms(), since=since, until=until)


def calls(count: int, **fields: Any) -> list[dict[str, Any]]:
    clock = Clock()
    return [entry(clock, occurred_at=NOON + timedelta(seconds=n), **fields) for n in range(count)]


def test_it_says_who_would_have_been_refused_when_and_what_that_saves(tmp_path: Path) -> None:
    rows = calls(5, user="a") + calls(2, user="b")
    found = run(tmp_path, rows, per=["user"])
    assert (found.calls, found.covered, found.warned, found.refused) == (7, 7, 1, 2)
    assert (found.saved_usd, found.cost_usd) == (Decimal("0.02"), Decimal("0.07"))
    [spell] = found.buckets
    assert (spell.scope, spell.refused, spell.warned) == ("user=a", 2, 1)
    assert spell.first_refused_at == NOON + timedelta(seconds=3)
    assert spell.last_refused_at == NOON + timedelta(seconds=4)


def test_a_limit_is_tried_before_it_is_enabled_or_valid(tmp_path: Path) -> None:
    later = NOON + timedelta(days=100)
    assert run(tmp_path, calls(5), enabled=False, valid_from=later) == run(tmp_path, calls(5))


def test_a_refused_call_uses_nothing_so_a_smaller_one_still_passes(tmp_path: Path) -> None:
    rows = calls(1, cost_usd="0.02") + calls(1, cost_usd="0.05") + calls(1, cost_usd="0.01")
    for second, row in enumerate(rows):
        row["occurred_at"] = NOON + timedelta(seconds=second)
    assert run(tmp_path, rows).refused == 1


def test_windows_begin_anew_and_rolling_ones_let_go(tmp_path: Path) -> None:
    rows = calls(4)
    for day, row in enumerate(rows):
        row["occurred_at"] = NOON - timedelta(days=day)
        row["day"] = row["occurred_at"].date()
    assert run(tmp_path, rows, amount="0.01").refused == 0
    assert run(tmp_path, rows, amount="0.01", window="rolling 36h").refused == 2


def test_what_lies_in_the_window_before_the_range_counts_and_refuses_nobody(tmp_path: Path) -> None:
    rows = calls(2)
    rows[0]["occurred_at"] = NOON - timedelta(days=20)
    rows[0]["day"] = rows[0]["occurred_at"].date()
    found = run(tmp_path, rows, amount="0.01", window="month")
    assert (found.calls, found.refused) == (1, 1)


def test_a_soft_limit_warns_and_an_unpriced_call_is_refused_where_the_limit_says_so(tmp_path: Path) -> None:
    rows = calls(4) + calls(1, cost_usd=None)
    found = run(tmp_path, rows, hard=False)
    assert (found.warned, found.refused) == (2, 0)
    assert run(tmp_path, calls(4), hard=False, thresholds=[]).warned == 1
    found = run(tmp_path, calls(1, cost_usd=None), unpriced="refuse", amount=5)
    assert (found.refused, found.refused_unpriced, found.saved_usd) == (1, 1, Decimal(0))


@pytest.mark.parametrize(
    "fields",
    [
        {"window": "hour", "per": ["user"], "grace": "0.25", "measure": "tokens", "amount": 3_000},
        {"window": "rolling 1h", "thresholds": [], "hard": False},
        {"window": "day", "thresholds": ["0.5", "1"]},
        {"window": "lifetime", "measure": "requests", "amount": 5, "hard": False, "thresholds": []},
    ],
)
def test_it_refuses_and_warns_as_the_limit_did(tmp_path: Path, fields: dict[str, Any]) -> None:
    clock, random = Clock(), Random(7)
    of = limits(tmp_path, clock)
    limit = add(of, **{"measure": "cost_usd", "amount": 2} | fields)
    said: dict[str, int] = {"allow": 0, "warn": 0, "refuse": 0}
    tried = []
    for number in range(30):
        clock.pass_(seconds=random.choice((1, 60, 600, 1_800)))
        if number in (8, 20):
            until = clock() + timedelta(hours=2)
            of.admin.grant(limit, random.choice(("top_up", "override")), 3, reason="r", who="ann", expires_at=until)
        user, size = random.choice("ab"), random.choice((100, 200, 500))
        one = entry(clock, user=user, input_tokens=10, output_tokens=size, cost_usd=str(Decimal(size) / 1_000))
        tried.append(one)
        verdict = of.check(Check(user=user, input_tokens=10, max_output_tokens=size))
        said[verdict.verdict] += 1
        if verdict.allowed:
            of.post(entries(one | {"hold_id": verdict.hold_id}))
    clock.pass_(hours=3)
    of.reload()
    with history(tmp_path, *tried) as connection:
        found = backtest(connection, limit, of.covering.terms, since=NOON, until=clock() + timedelta(seconds=1))
    assert (found.refused, found.warned) == (said["refuse"], said["warn"])
    assert min(found.refused + found.warned, said["allow"]) > 0


def test_corrections_move_what_is_used_and_are_no_calls(tmp_path: Path) -> None:
    rows = calls(3)
    back = entry(Clock(), occurred_at=NOON + timedelta(seconds=10), kind="reversal", calls=-1, cost_usd="-0.01")
    last = calls(1)
    last[0]["occurred_at"] = NOON + timedelta(seconds=20)
    found = run(tmp_path, [*rows, back, *last])
    assert (found.calls, found.refused) == (3, 0)


def test_a_call_that_was_re_rated_is_one_call_at_its_new_price(tmp_path: Path) -> None:
    rows = calls(3, cost_usd=None, cost_state="unpriced")
    about = [{"stands_for": row["entry_id"], "occurred_at": row["occurred_at"], "kind": "adjustment"} for row in rows[:2]]
    clock = Clock()
    rows += [entry(clock, **one, calls=-1, input_tokens=-10, output_tokens=-10, cost_usd=None) for one in about]
    rows += [entry(clock, **one, cost_usd="0.02") for one in about]
    found = run(tmp_path, rows)
    assert (found.calls, found.covered, found.refused, found.saved_usd) == (3, 3, 1, Decimal("0.02"))
    assert found.cost_usd == Decimal("0.04")
    tokens = run(tmp_path, rows, measure="tokens", amount=40)
    assert (tokens.covered, tokens.refused) == (3, 1)


def test_a_call_that_was_reversed_asks_for_nothing(tmp_path: Path) -> None:
    rows = calls(4)
    back = {"stands_for": rows[0]["entry_id"], "occurred_at": rows[0]["occurred_at"], "kind": "reversal"}
    rows.append(entry(Clock(), **back, calls=-1, input_tokens=-10, output_tokens=-10, cost_usd="-0.01"))
    found = run(tmp_path, rows)
    assert (found.calls, found.covered, found.refused) == (3, 3, 0)


def test_top_ups_overrides_and_what_rolls_over_let_pass_what_they_let_pass_then(tmp_path: Path) -> None:
    def grant(kind: GrantKind, amount: str, start: int, end: int) -> Terms:
        given: dict[str, Any] = {
            "valid_from": NOON + timedelta(seconds=start),
            "expires_at": NOON + timedelta(seconds=end),
            "reason": "why",
        }
        return Terms(grants={"x": (Grant(id="g", limit_id="x", kind=kind, subject=None, amount=Decimal(amount), **given),)})

    rows = calls(8)
    assert run(tmp_path, rows).refused == 5
    assert run(tmp_path, rows, grant("top_up", "0.02", 0, 60)).refused == 3
    assert run(tmp_path, rows, grant("top_up", "0.02", 5, 60)).refused == 3
    assert run(tmp_path, rows, grant("top_up", "0.02", 0, 4)).refused == 4
    assert run(tmp_path, rows, grant("override", "0", 1, 60)).refused == 7
    for row in rows[:2]:
        row["occurred_at"] -= timedelta(days=1)
        row["day"] = row["occurred_at"].date()
    assert run(tmp_path, rows).refused == 3
    found = run(tmp_path, rows, rollover="1")
    assert (found.refused, found.warned) == (2, 1)
