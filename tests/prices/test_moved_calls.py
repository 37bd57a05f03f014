"""Calls that re-rating moves between states: plain sums by state, counters, the roll-up and late duplicates stay right."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.older import LedgerEvidence
from spanledger.collector.decode.decode import decode
from spanledger.collector.pricing.rerate import Range
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger import rolling
from spanledger.ledger.frame import conform
from spanledger.ledger.maintenance import Maintenance
from spanledger.limits.tally import Shape, of_history
from spanledger.limits.window import Lifetime
from tests.dialects import bodies
from tests.dialects.spans import Span, body_of, chat
from tests.prices.desks import NOW, At, desk_at

ALL = Range(since=datetime(2020, 1, 1, tzinfo=UTC), until=datetime(2030, 1, 1, tzinfo=UTC))
HOUSE = {"provider": "vllm", "model": "house-llm"}
BY_STATE = (
    "select cost_state, sum(calls), sum(input_tokens), sum(cost_usd) from entries group by all "
    "having sum(calls) <> 0 or coalesce(sum(cost_usd), 0) <> 0 order by all"
)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with desk_at(tmp_path) as found:
        yield found


def _set_a_price(at: At, model: str = "house-llm") -> str:
    made = at.desk.make([{"provider": "*", "model": model, "rates": {"input_mtok": "1", "output_mtok": "2"}}], who="me")
    return str(made[0]["id"])


def test_what_was_unpriced_counts_as_priced_in_plain_sums_once_it_has_a_price(at: At) -> None:
    at.post([HOUSE, HOUSE, {}])
    assert at.sql(BY_STATE) == [("priced", 1, 1000, Decimal("0.0035")), ("unpriced", 2, 2000, None)]
    _set_a_price(at)
    found = at.desk.rerate(ALL, who="me", note="x", post=True)
    assert (found.changed, found.lines[0].calls, found.lines[0].newly_priced) == (2, 2, 2)
    assert at.sql(BY_STATE) == [("priced", 3, 3000, Decimal("0.0059"))]
    assert at.sql("select count(*), sum(calls), count(distinct entry_id) from entries") == [(7, 3, 7)]
    reasons = "select unpriced_reason, sum(calls) from entries where cost_state = 'unpriced' group by all"
    assert at.sql(reasons) == [("unknown model", 0)]
    assert at.desk.rerate(ALL, who="me", note="x", post=True).changed == 0


def test_what_loses_its_price_counts_as_unpriced_again_and_has_no_cost(at: At) -> None:
    rule = _set_a_price(at)
    at.post([HOUSE, {}])
    at.desk.rules.change(rule, {"valid_to": (NOW - timedelta(days=1)).isoformat(), "valid_from": "2026-01-01"}, who="me")
    at.desk.prices.use(rules=at.desk.rules.rules())
    found = at.desk.rerate(ALL, who="me", note="x", post=True)
    assert (found.changed, found.lines[0].no_longer_priced) == (1, 1)
    assert [row[:2] for row in at.sql(BY_STATE)] == [("priced", 1), ("unpriced", 1)]
    assert at.sql("select cost_usd, cost_state, unpriced_reason from calls where model = 'house-llm'") == [
        (None, "unpriced", "unknown model")
    ]
    assert at.total() == found.new_usd == Decimal("0.0035")
    assert at.desk.rerate(ALL, who="me").changed == 0


def test_the_state_of_a_call_may_go_there_and_back_and_there(at: At) -> None:
    at.post([HOUSE])
    rule = _set_a_price(at)
    for moment, (ends, state) in enumerate([(None, "priced"), ("2026-02-01", "unpriced"), (None, "priced")]):
        fields = {"valid_from": "2026-01-01", "valid_to": ends}
        rule = at.desk.change(rule, fields, who="me")["id"] if moment else rule
        at.desk._clock = lambda moment=moment: NOW + timedelta(hours=moment)  # type: ignore[misc]
        at.desk.rerate(ALL, who="me", note="x", post=True)
        assert [row[:2] for row in at.sql(BY_STATE)] == [(state, 1)]
        assert at.sql("select cost_state, calls from calls") == [(state, 1)]


def test_before_the_re_rating_the_call_was_unpriced_and_can_still_be_asked_so(at: At) -> None:
    at.post([HOUSE])
    _set_a_price(at)
    at.desk._clock = lambda: NOW + timedelta(days=1)
    at.desk.rerate(ALL, who="me", note="x", post=True)
    known = "select sum(calls) filter (where cost_state = 'unpriced'), sum(cost_usd) from entries"
    assert at.sql(f"{known} where recorded_at <= '{NOW.isoformat()}'") == [(1, None)]
    assert at.sql(known) == [(0, Decimal("0.0012"))]


def test_a_moved_call_that_was_a_duplicate_leaves_nothing_in_any_state(at: At) -> None:
    at.post([HOUSE, {}])
    _set_a_price(at)
    at.desk.rerate(ALL, who="me", note="x", post=True)
    at.reverse(0)
    at.desk.rerate(ALL, who="me", note="y", post=True)
    assert at.sql(BY_STATE) == [("priced", 1, 1000, Decimal("0.0035"))]
    assert at.total() == Decimal("0.0035")
    assert at.desk.rerate(ALL, who="me").changed == 0


def test_the_roll_up_agrees_with_the_entries_by_state(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    at.post([HOUSE, {}, HOUSE])
    _set_a_price(at)
    at.desk.rerate(ALL, who="me", note="x", post=True)
    monkeypatch.setattr(rolling, "WORTH_ROWS", 1)
    Maintenance(at.ledger).round()
    assert at.sql("select count(*) from rollup")[0][0] > 0
    assert at.sql(BY_STATE.replace("from entries", "from rollup")) == at.sql(BY_STATE)


def test_counters_move_their_unpriced_tokens_too(at: At) -> None:
    at.post([HOUSE])

    def counted() -> tuple[int, ...]:
        with at.read() as connection:
            tallies = list(of_history(connection, Shape(frozenset({"trace"})), Lifetime(), int(NOW.timestamp() * 1e6)))
        names = ("calls", "input_tokens", "output_tokens", "cost", "unpriced_tokens")
        return tuple(sum(getattr(tally, name) for tally in tallies) for name in names)

    assert counted() == (1, 1000, 100, 0, 1100)
    _set_a_price(at)
    at.desk.rerate(ALL, who="me", note="x", post=True)
    assert counted() == (1, 1000, 100, 1_200_000_000, 0)


@pytest.mark.parametrize("let_go", [False, True])
def test_a_late_wrapper_of_a_moved_call_still_finds_it_and_the_sums_come_out_right(at: At, let_go: bool) -> None:
    older = LedgerEvidence(at.ledger.table.table_uri)
    counter = CountOnce(Counting(rows=4), older=older)

    def take(mark: int, *spans: Span) -> pl.DataFrame:
        now = bodies.NOW + timedelta(seconds=mark)
        entries = at.desk.prices.price(counter.count(recognise(decode([body_of(*spans)])), now=now, mark=mark))
        if entries.height:
            at.ledger.post(conform(entries), mark)
        counter.posted(mark, entries)
        return entries

    inner = chat(id="i", parent="o", start=10, end=90, attributes={"gen_ai.request.model": "house-llm"})
    take(1, inner)
    if let_go:
        for mark in range(2, 8):
            take(mark, *(chat(mark * 100 + n, 7, trace=f"{mark}-{n}", id="x") for n in range(3)))
    before = at.total()
    _set_a_price(at)
    at.desk.rerate(ALL, who="me", note="x", post=True)
    attributes = {"gen_ai.request.model": "house-llm", "spanledger.tenant": "acme"}
    late = take(9, chat(id="o", scope="framework", start=0, end=100, attributes=attributes))
    assert late["calls"].sum() == 0
    assert take(10, inner).is_empty()
    at.desk.rerate(ALL, who="me", note="y", post=True)
    of_this = "select tenant, sum(calls), sum(cost_usd) from entries where model = 'house-llm' and cost_state = '{}' group by all"
    assert [row for row in at.sql(of_this.format("priced")) if row[1] or row[2]] == [("acme", 1, Decimal("0.0014"))]
    assert [row for row in at.sql(of_this.format("unpriced")) if row[1]] == []
    assert at.total() - before == Decimal("0.0014")
