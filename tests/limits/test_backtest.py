"""What a limit would have done, over a history in which that can be counted by hand."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from spanledger.limits import Limit
from spanledger.limits.backtest import Backtest, backtest
from spanledger.limits.terms import Terms
from tests.limits.made import NOON, Clock, entry
from tests.limits.test_post import history


def run(folder: Path, rows: list[dict[str, Any]], **fields: Any) -> Backtest:
    given = {"name": "x", "measure": "cost_usd", "amount": "0.03", "window": "day", "thresholds": [1]} | fields
    folder = folder / uuid4().hex
    folder.mkdir()
    with history(folder, *rows) as connection:
        since, until = NOON - timedelta(days=10), NOON + timedelta(days=1)
        return backtest(connection, Limit.of(given, limit_id="x"), Terms(), since=since, until=until)


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
    found = run(tmp_path, calls(1, cost_usd=None), unpriced="refuse", amount=5)
    assert (found.refused, found.refused_unpriced, found.saved_usd) == (1, 1, Decimal(0))


def test_corrections_move_what_is_used_and_are_no_calls(tmp_path: Path) -> None:
    rows = calls(3)
    back = entry(Clock(), occurred_at=NOON + timedelta(seconds=10), kind="reversal", calls=-1, cost_usd="-0.01")
    last = calls(1)
    last[0]["occurred_at"] = NOON + timedelta(seconds=20)
    found = run(tmp_path, [*rows, back, *last])
    assert (found.calls, found.refused) == (3, 0)
