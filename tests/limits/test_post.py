"""Entries move the counters, each in the window of its own time; the ledger gives the same counters back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from spanledger.limits import Limits
from tests.limits.made import NOON, Clock, add, ask, entries, entry, limits, stands

CENT = 10**10


def test_a_late_entry_counts_in_the_window_in_which_it_occurred(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    day = add(of, window="day", amount=10)
    month = add(of, window="month", amount=10)
    hour = add(of, window="rolling 1h", amount=10)
    of.post(
        entries(entry(clock, occurred_at=clock() - timedelta(days=1)), entry(clock, occurred_at=clock() - timedelta(minutes=30)))
    )
    assert stands(of, day) == [((), 1, 0)]
    assert stands(of, month) == [((), 2, 0)]
    assert stands(of, hour) == [((), 1, 0)]


def test_an_entry_from_a_clock_that_runs_ahead_counts_in_the_next_window(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    day = add(of, window="day", amount=10)
    of.post(entries(entry(clock, occurred_at=clock() + timedelta(hours=13))))
    assert stands(of, day) == []
    clock.pass_(hours=13)
    assert stands(of, day) == [((), 1, 0)]


def test_reversals_and_adjustments_move_the_counters_back(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    cost, calls = add(of, measure="cost_usd", amount=1), add(of, measure="requests", amount=10)
    of.post(entries(entry(clock), entry(clock)))
    of.post(entries(entry(clock, kind="reversal", calls=-1, cost_usd="-0.01", input_tokens=-10, output_tokens=-10)))
    of.post(entries(entry(clock, kind="adjustment", calls=0, cost_usd="0.005", input_tokens=0, output_tokens=0)))
    assert stands(of, cost) == [((), 15 * CENT // 10, 0)]
    assert stands(of, calls) == [((), 1, 0)]


def test_a_limit_on_a_model_counts_what_was_asked_for(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, selectors={"model": "gpt-4o"}, per=["model"], amount=10)
    of.post(entries(entry(clock, requested_model="gpt-4o", model="gpt-4o-2024-08-06"), entry(clock, model="gpt-4o")))
    assert stands(of, limit) == [(("gpt-4o",), 2, 0)]


def test_tags_are_dimensions_too(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, selectors={"tag.env": "prod"}, per=["tag.team"], amount=10)
    of.post(entries(entry(clock, tags={"env": "prod", "team": "red"}), entry(clock, tags={"env": "dev", "team": "red"})))
    assert stands(of, limit) == [(("red",), 1, 0)]


def history(folder: Path, *rows: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    ledger = Ledger.open(folder / "entries")
    ledger.post(conform(entries(*rows)), None)
    return connect(folder)


def kept(of: Limits) -> list[Any]:
    return [stands(of, limit) for limit in of.all()]


def of_every_kind(of: Limits) -> None:
    given: list[dict[str, Any]] = []
    for number, window in enumerate(("hour", "day", "week", "month", "quarter", "year", "lifetime", "rolling 90s", "rolling 7d")):
        for measure in (("cost_usd", "tokens"), ("requests", "cost_usd"), ("input_tokens", "output_tokens"))[number % 3]:
            zoned = (
                {"kind": "calendar", "unit": window, "zone": "Asia/Kolkata"}
                if " " not in window and window != "lifetime"
                else window
            )
            given.append(
                {
                    "name": f"{number} {measure}",
                    "window": zoned,
                    "measure": measure,
                    "amount": 10**6,
                    "per": ["tenant"] if number % 2 else [],
                }
            )
    day = {"window": "day", "measure": "requests", "amount": 10}
    given.append({**day, "name": "tags", "selectors": {"tag.team": ["r*"]}, "per": ["tag.team", "user"]})
    given.append({**day, "name": "model", "selectors": {"model": "gpt*", "tenant": "a"}, "per": ["model", "trace"]})
    ceiling = {"measure": "cost_usd", "unpriced": "ceiling", "ceiling_usd_per_mtok": "2.5", "per": ["session"]}
    given.append({**day, **ceiling, "name": "ceiling"})
    of.configure(given)


some_entries = st.lists(
    st.fixed_dictionaries(
        {
            "occurred_at": st.datetimes(datetime(2025, 11, 1), datetime(2026, 11, 27)).map(lambda t: t.replace(tzinfo=UTC))
            | st.integers(-200, 60).map(lambda s: NOON + timedelta(seconds=s)),
            "tenant": st.sampled_from(["a", "b", None]),
            "user": st.sampled_from(["u", None]),
            "session": st.sampled_from(["s", None]),
            "trace_id": st.sampled_from(["1" * 32, None]),
            "tags": st.dictionaries(st.sampled_from(["team", "x"]), st.sampled_from(["red", "rose", "blue"])),
            "requested_model": st.sampled_from(["gpt-4o", None]),
            "model": st.sampled_from(["gpt-4o-2024", "o3"]),
            "input_tokens": st.integers(0, 10**6) | st.none(),
            "output_tokens": st.integers(0, 10**6) | st.none(),
            "cost_usd": st.decimals(0, 100, places=12) | st.none(),
            "calls": st.sampled_from([1, 1, -1, 0]),
        }
    ),
    min_size=1,
    max_size=12,
)


@given(some_entries)
@settings(max_examples=12, deadline=None)
def test_the_ledger_gives_back_the_counters_that_the_entries_made(
    tmp_path_factory: pytest.TempPathFactory, given_: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("rebuilt")
    clock = Clock()
    rows = [entry(clock, **fields) for fields in given_]
    fed = limits(folder, clock)
    of_every_kind(fed)
    for row in rows:
        fed.post(entries(row))
    fresh = Limits(fed._control, fed._prices, clock=clock)
    with history(folder, *rows) as connection:
        fresh.rebuild(connection)
    assert kept(fresh) == kept(fed)
    fed._control.close()


def test_a_limit_that_is_added_counts_what_is_already_in_the_ledger(tmp_path: Path) -> None:
    clock = Clock()
    connection = history(tmp_path, *(entry(clock, tenant="acme") for _ in range(3)))
    of = limits(tmp_path, clock, history=lambda: connection.cursor())
    limit = add(of, selectors={"tenant": "acme"}, amount=3)
    assert stands(of, limit) == [((), 3, 0)]
    assert ask(of, tenant="acme") == "refuse"


def test_a_limit_that_is_changed_counts_anew_and_keeps_its_holds(tmp_path: Path) -> None:
    clock = Clock()
    old = entry(clock, occurred_at=clock() - timedelta(days=3), tenant="acme")
    connection = history(tmp_path, entry(clock, tenant="acme"), old)
    of = limits(tmp_path, clock, history=lambda: connection.cursor())
    limit = add(of, amount=10)
    ask(of)
    changed = of.update(limit.id, {"measure": "cost_usd", "window": "month", "amount": "2.5"}, who="tests")
    assert [used for _, used, _ in stands(of, changed)] == [2 * CENT]
    assert changed.amount == Decimal("2.5")


def test_a_batch_that_covers_nobody_costs_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    of.post(entries(entry(clock)))
    of.post(entries(entry(clock)).head(0))
    add(of, selectors={"tenant": "other"})
    of.post(entries(entry(clock)).select("occurred_at", "calls"))
    assert of.counts()["buckets"] == 0
