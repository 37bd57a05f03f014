"""Re-rating: the sums before, the adjustment and the sums after agree to the last digit, and twice is once."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanledger.collector.pricing.queries import QUERIES, rows
from spanledger.collector.pricing.rerate import Range
from spanledger.control.tables import audit
from spanledger.ledger import rolling
from spanledger.ledger.connect import connect
from spanledger.ledger.maintenance import Maintenance
from tests.prices.desks import NOW, At, desk_at

ALL = Range(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2027, 1, 1, tzinfo=UTC))
PARTS = ("input", "cache_read", "cache_write", "output", "other")


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with desk_at(tmp_path) as found:
        yield found


def test_nothing_changes_while_the_prices_are_the_same(at: At) -> None:
    at.post([{}, {"model": "unheard-of"}, {"outcome": "error", "input_tokens": None, "output_tokens": None}])
    found = at.desk.rerate(ALL, who="me")
    assert (found.calls, found.changed, found.difference_usd) == (3, 0, Decimal(0))


def test_a_preview_posts_nothing(at: At) -> None:
    at.post([{}])
    at.desk.make([{"model": "gpt-4o", "multiplier": "0.5"}], who="me")
    found = at.desk.rerate(ALL, who="me")
    assert found.difference_usd == Decimal("-0.00175")
    assert at.total() == Decimal("0.0035")


def test_the_difference_is_posted_as_adjustments_and_audited(at: At) -> None:
    at.post([{"tenant": "acme"}, {"tenant": "other"}, {"model": "gpt-4.1"}])
    at.desk.make([{"model": "gpt-4o", "scope": "tenant:acme", "multiplier": "0.88"}], who="me")
    before = at.total()
    found = at.desk.rerate(ALL, who="me", note="contract of October", post=True)
    assert (found.calls, found.changed) == (3, 1)
    assert at.total() == before + found.difference_usd == found.new_usd
    line = found.lines[0]
    assert (line.provider, line.model, line.tenant, line.calls) == ("openai", "gpt-4o", "acme", 1)
    kind, calls, reason, tokens, tenant = at.sql(
        "select kind, calls, reason, input_tokens, tenant from entries where rule = 'rerate'"
    )[0]
    assert (kind, calls, reason, tokens, tenant) == ("adjustment", 0, "re-rated by me: contract of October", None, "acme")
    found_audit = [row for row in at.control.rows(audit) if row["table_name"] == "reratings"]
    assert (found_audit[0]["who"], found_audit[0]["why"]) == ("me", "contract of October")


def test_re_rating_twice_changes_nothing(at: At) -> None:
    at.post([{}, {"input_tokens": 7}, {"model": "unheard-of"}])
    at.desk.make([{"model": "gpt-4o", "multiplier": "0.333333"}, {"model": "unheard-of", "rates": {"input_mtok": "1"}}], who="me")
    at.desk.rerate(ALL, who="me", note="once", post=True)
    total, entries = at.total(), at.sql("select count(*) from entries")
    again = at.desk.rerate(ALL, who="me", note="twice", post=True)
    assert again.changed == 0
    assert (at.total(), at.sql("select count(*) from entries")) == (total, entries)


def test_prices_may_go_there_and_back_again(at: At) -> None:
    at.post([{}])
    before = at.total()
    made = at.desk.make([{"model": "gpt-4o", "multiplier": "0.5"}], who="me")
    at.desk.rerate(ALL, who="me", note="there", post=True)
    at.desk.change(made[0]["id"], {"multiplier": "1"}, who="me")
    at.desk.rerate(ALL, who="me", note="back", post=True)
    assert at.total() == before
    at.desk.change(at.desk.rules.in_force()[0]["id"], {"multiplier": "0.5"}, who="me")
    at.desk.rerate(ALL, who="me", note="there again", post=True)
    assert at.total() == before / 2


def test_what_had_no_price_gets_one(at: At) -> None:
    at.post([{"model": "house-llm", "provider": "vllm"}, {}])
    found = at.desk.rerate(ALL, who="me")
    with at.read() as connection:
        waiting = rows(connection, "unpriced", since=ALL.since, until=ALL.until)
    assert [(one["provider"], one["model"], one["calls"], one["reason"]) for one in waiting] == [
        ("vllm", "house-llm", 1, "unknown model")
    ]
    at.desk.make([{"provider": "vllm", "model": "house-llm", "rates": {"input_mtok": "1", "output_mtok": "2"}}], who="me")
    only = Range(since=ALL.since, until=ALL.until, unpriced_only=True)
    found = at.desk.rerate(only, who="me", note="price set", post=True)
    assert (found.calls, found.changed, found.lines[0].newly_priced) == (1, 1, 1)
    assert at.sql("select cost_usd, cost_state, unpriced_reason from calls where model = 'house-llm'") == [
        (Decimal("0.0012"), "priced", None)
    ]
    with at.read() as connection:
        assert rows(connection, "unpriced", since=ALL.since, until=ALL.until) == []


def test_what_was_believed_yesterday_can_still_be_asked(at: At) -> None:
    at.post([{}])
    at.desk.make([{"model": "gpt-4o", "multiplier": "0.5"}], who="me")
    at.desk._clock = lambda: NOW + timedelta(days=1)
    at.desk.rerate(ALL, who="me", note="late", post=True)
    later = NOW + timedelta(days=1, seconds=1)
    with at.read() as connection:
        then, now = (
            rows(connection, "known", as_known_on=moment, since=ALL.since, until=ALL.until)[0]["cost_usd"]
            for moment in (NOW, later)
        )
    assert (then, now) == (Decimal("0.0035"), Decimal("0.00175"))


@pytest.mark.parametrize("rolled_up", [False, True])
def test_every_view_shows_what_was_known_at_a_moment(at: At, rolled_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    at.post([{}, {"model": "house-llm", "provider": "vllm"}])
    form = {"provider": "vllm", "model": "house-llm", "rates": {"input_mtok": "1", "output_mtok": "2"}}
    at.desk.make([{"model": "gpt-4o", "multiplier": "0.5"}, form], who="me")
    at.desk._clock = lambda: NOW + timedelta(days=1)
    at.desk.rerate(ALL, who="me", note="late", post=True)
    later = NOW + timedelta(days=1, seconds=1)
    if rolled_up:
        monkeypatch.setattr(rolling, "WORTH_ROWS", 1)
        Maintenance(at.ledger).round()

    def known(moment: datetime | None, view: str) -> tuple[Any, ...]:
        with closing(connect(at.folder, as_known_on=moment)) as connection:
            sums = f"select sum(cost_usd), sum(calls) filter (where cost_state = 'unpriced'), sum(calls) from {view}"
            return connection.execute(sums).fetchone()  # type: ignore[return-value]

    views = ("entries", "calls", "rollup", "rollup_coarse")
    assert {known(NOW, view) for view in views} == {(Decimal("0.0035"), 1, 2)}
    before = {tuple(part or 0 for part in known(NOW - timedelta(seconds=1), view)) for view in views}
    assert before == {(0, 0, 0)}
    for moment in (later, None):
        assert {tuple(part or 0 for part in known(moment, view)) for view in views} == {(Decimal("0.00295"), 0, 2)}
    with pytest.raises(ValueError, match="needs a time zone"):
        connect(at.folder, as_known_on=datetime(2026, 11, 22))


def test_only_the_calls_that_are_asked_for_are_priced_anew(at: At) -> None:
    at.post(
        [
            {"tenant": "a"},
            {"tenant": "b"},
            {"tenant": "a", "occurred_at": NOW - timedelta(days=40)},
            {"tenant": "a", "model": "o3"},
        ]
    )
    at.desk.make([{"provider": "openai", "multiplier": "0.5"}], who="me")
    since, until = NOW - timedelta(days=1), NOW + timedelta(days=1)
    found = at.desk.rerate(Range(since=since, until=until, tenant="a", model="gpt-4o", provider="openai"), who="me")
    assert (found.calls, found.changed) == (1, 1)


def test_components_stay_the_sum_of_the_call_after_adjustments(at: At) -> None:
    at.post([{"cache_read_tokens": 300, "searches": 2, "model": "gpt-4.1"}])
    at.desk.make([{"model": "gpt-4.1", "multiplier": "0.777777"}], who="me")
    at.desk.rerate(ALL, who="me", note="x", post=True)
    columns = ", ".join(f"{part}_cost_usd" for part in PARTS)
    cost, *parts = at.sql(f"select cost_usd, {columns} from calls")[0]
    assert cost == sum(parts)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(
        st.fixed_dictionaries(
            {
                "model": st.sampled_from(["gpt-4o", "gpt-4.1", "o3", "unheard-of", "text-embedding-3-small"]),
                "tenant": st.sampled_from(["a", "b"]),
                "input_tokens": st.integers(0, 10**6),
                "output_tokens": st.integers(0, 10**5),
                "occurred_at": st.integers(0, 60).map(lambda days: NOW - timedelta(days=days)),
            }
        ),
        min_size=1,
        max_size=30,
    ),
    multipliers=st.lists(st.decimals("0", "2", places=6), min_size=1, max_size=3),
)
def test_whatever_the_prices_become_the_ledger_sums_to_them(
    tmp_path_factory: pytest.TempPathFactory, calls: list[dict[str, Any]], multipliers: list[Decimal]
) -> None:
    with desk_at(tmp_path_factory.mktemp("desk")) as at:
        at.post(calls)
        rule = at.desk.make([{"scope": "tenant:a", "multiplier": "1"}], who="me")[0]
        for multiplier in multipliers:
            rule = at.desk.change(rule["id"], {"multiplier": str(multiplier)}, who="me")
            before = at.total()
            found = at.desk.rerate(ALL, who="me", note="x", post=True)
            assert before == found.old_usd
            assert at.total() == before + found.difference_usd == found.new_usd
            assert at.desk.rerate(ALL, who="me").changed == 0


def test_adjustments_of_a_call_that_was_a_duplicate_are_taken_back(at: At) -> None:
    at.post([{}, {"tenant": "b"}])
    at.desk.make([{"model": "gpt-4o", "multiplier": "0.5"}], who="me")
    at.desk.rerate(ALL, who="me", note="discount", post=True)
    at.reverse(0)
    assert at.total() != Decimal("0.00175")
    found = at.desk.rerate(ALL, who="me", note="again", post=True)
    assert (found.changed, at.total()) == (1, Decimal("0.00175"))
    assert at.desk.rerate(ALL, who="me").changed == 0


def test_a_range_holds_its_beginning_and_not_its_end(at: At) -> None:
    at.post([{"occurred_at": NOW + timedelta(microseconds=by)} for by in (-1, 0, 1)])
    day, moment = timedelta(days=1), timedelta(microseconds=1)
    assert at.desk.rerate(Range(since=NOW - day, until=NOW), who="me").calls == 1
    assert at.desk.rerate(Range(since=NOW, until=NOW + moment), who="me").calls == 1
    assert at.desk.rerate(Range(since=NOW, until=NOW + day), who="me").calls == 2


def test_what_was_known_while_a_re_rating_ran_stays_what_was_known(at: At) -> None:
    """Pricing takes nine seconds here, writing none."""
    at.post([{}])
    at.desk.make([{"model": "gpt-4o", "multiplier": "0.5"}], who="me")
    begun, written = NOW + timedelta(days=1), NOW + timedelta(days=1, seconds=9)
    moments = iter([begun])
    at.desk._clock = lambda: next(moments, written)
    at.desk.rerate(ALL, who="me", note="late", post=True)
    (learned,) = at.sql("select recorded_at from entries where rule = 'rerate'")[0]
    assert written < learned < written + timedelta(seconds=1)
    with closing(connect(at.folder, as_known_on=written)) as connection:
        assert connection.execute("select sum(cost_usd) from entries").fetchone() == (Decimal("0.0035"),)
    assert at.sql("select count(*) from entries where rule = 'rerate'") == [(1,)]
    with at.read() as connection:
        assert rows(connection, "rerated_at", at=learned)[0]["entries"] == 1


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="until"):
        Range(since=NOW, until=NOW)


def test_every_query_has_a_file_and_every_file_a_query() -> None:
    from importlib.resources import files

    found = {path.name.removesuffix(".sql") for path in (files("spanledger.collector.pricing") / "sql").iterdir()}
    assert found == set(QUERIES)
