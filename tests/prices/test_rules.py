"""Rules over the books: which goes first, what each does, and when."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.prices import Prices
from spanledger.prices.books.snapshot import Snapshot
from spanledger.prices.cell import EVERYWHERE, Box, overlay
from spanledger.prices.layers import Layers, Name
from spanledger.prices.rule import Rule, apply
from spanledger.prices.rule_form import rule_of

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOOK = Snapshot()


def prices(*forms: dict[str, Any]) -> Prices:
    return Prices([BOOK], [rule_of(form, f"r{number}") for number, form in enumerate(forms)])


def cost(found: Prices, at: datetime = AT, **asked: Any) -> Decimal | None:
    """A million input tokens of gpt-4o, list price 2.50, but for what is given."""
    return found.cost_of(asked.pop("provider", "openai"), asked.pop("model", "gpt-4o"), at, 1_000_000, 0, **asked).cost_usd


def test_a_contract_rate_replaces_the_meters_that_it_names_and_no_others() -> None:
    found = prices({"provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": "2"}})
    quote = found.cost_of("openai", "gpt-4o", AT, 1_000_000, 1_000_000)
    assert quote.cost_usd == Decimal(12)
    assert quote.rules == ("r0",)


def test_a_discount_multiplies_whatever_the_ranks_below_say() -> None:
    found = prices(
        {"provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": "2"}, "layer": "site"},
        {"provider": "openai", "multiplier": "0.88"},
    )
    assert cost(found) == Decimal("1.76")


def test_a_rule_is_for_whom_it_says_only() -> None:
    found = prices({"scope": "tenant:acme", "provider": "openai", "multiplier": "0.5"})
    assert cost(found) == Decimal("2.5")
    assert cost(found, belongs=[("tenant", "acme")]) == Decimal("1.25")
    assert cost(found, belongs=[("tenant", "other")]) == Decimal("2.5")


def test_the_narrower_scope_goes_over_the_wider() -> None:
    found = prices(
        {"scope": "tenant:acme", "model": "gpt-4o", "rates": {"input_mtok": "2"}},
        {"scope": "project:apollo", "model": "gpt-4o", "rates": {"input_mtok": "1"}},
        {"scope": "key:k1", "model": "gpt-4o", "rates": {"input_mtok": "0.5"}},
        {"scope": "tag:team=search", "model": "gpt-4o", "rates": {"input_mtok": "9"}},
    )
    everyone = [("tag", "team=search"), ("tenant", "acme"), ("project", "apollo"), ("key", "k1")]
    assert [cost(found, belongs=everyone[:n]) for n in range(5)] == [Decimal(c) for c in ("2.5", "9", "2", "1", "0.5")]


def test_the_narrower_name_goes_over_the_wider() -> None:
    found = prices(
        {"multiplier": "0.5"},
        {"provider": "openai", "model": "gpt-4*", "rates": {"input_mtok": "4"}},
        {"provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": "8"}},
    )
    assert cost(found) == Decimal(8)
    assert cost(found, model="gpt-4.1") == Decimal(4)
    assert cost(found, model="o3") == Decimal(1)


def test_a_rule_for_a_model_covers_its_dated_snapshots() -> None:
    found = prices({"provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": "1"}})
    assert cost(found, model="gpt-4o-2024-08-06") == Decimal(1)


def test_a_rule_for_a_provider_does_not_reach_those_that_resell_it() -> None:
    found = prices({"provider": "openai", "multiplier": "0.5"})
    assert cost(found, provider="azure.ai.openai") == Decimal("2.5")


def test_a_rule_changes_the_price_at_its_moment_and_not_a_microsecond_before() -> None:
    start = datetime(2026, 12, 1, 8, 30, 0, 1, tzinfo=UTC)
    found = prices({"model": "gpt-4o", "rates": {"input_mtok": "1"}, "valid_from": start.isoformat(), "valid_to": "2027-01-01"})
    assert cost(found, start - timedelta(microseconds=1)) == Decimal("2.5")
    assert cost(found, start) == Decimal(1)
    assert cost(found, datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == Decimal(1)
    assert cost(found, datetime(2027, 1, 1, tzinfo=UTC)) == Decimal("2.5")


def test_a_rule_keeps_to_its_hours_days_and_sizes() -> None:
    found = prices(
        {"model": "gpt-4o", "rates": {"input_mtok": "1"}, "hours": "16:30-24:00", "weekdays": "sat,sun", "over_tokens": 500_000}
    )
    saturday = datetime(2026, 11, 21, 17, tzinfo=UTC)
    assert cost(found, saturday) == Decimal(1)
    assert cost(found, saturday.replace(hour=16, minute=29)) == Decimal("2.5")
    assert cost(found, saturday - timedelta(days=1)) == Decimal("2.5")
    assert found.cost_of("openai", "gpt-4o", saturday, 500_000, 0).cost_usd == Decimal("1.25")


def test_a_model_that_no_book_has_gets_its_price() -> None:
    found = prices({"provider": "vllm", "model": "house-llm", "rates": {"input_mtok": "0.1", "output_mtok": "0.2"}})
    quote = found.cost_of("vllm", "house-llm", AT, 1_000_000, 1_000_000)
    assert (quote.cost_usd, quote.cost_state, quote.price_match) == (Decimal("0.3"), "priced", "rule")
    assert found.cost_of("vllm", "house-llm", AT, 1, 1, service_tier="flex").cost_usd is None


def test_a_deployment_is_priced_as_what_it_is() -> None:
    found = prices({"provider": "azure", "model": "prod-chat", "same_as": "openai/gpt-4o-mini"})
    quote = found.cost_of("azure.ai.openai", "prod-chat", AT, 1_000_000, 0)
    assert (quote.cost_usd, quote.priced_as, quote.price_match) == (Decimal("0.15"), "openai/gpt-4o-mini", "rule")


def test_a_default_prices_what_nobody_knows_and_marks_it_estimated() -> None:
    found = prices({"layer": "default", "rates": {"input_mtok": "10", "output_mtok": "30"}})
    quote = found.cost_of("whoever", "whatever", AT, 1_000_000, 0)
    assert (quote.cost_usd, quote.cost_state) == (Decimal(10), "estimated")
    assert "default_price" in quote.flags
    assert cost(found) == Decimal("2.5")


def test_a_discount_has_no_part_in_what_nobody_has_a_price_for() -> None:
    quote = prices({"multiplier": "0"}).cost_of("vllm", "nobodys", AT, 1_000_000, 0)
    assert (quote.cost_usd, quote.cost_state, quote.rules) == (None, "unpriced", ())


def test_a_contract_leaves_the_list_price_beside_it() -> None:
    found = prices({"scope": "tenant:acme", "provider": "openai", "multiplier": "0.88"})
    tags = [[{"key": "team", "value": "x"}]] * 2
    entries = pl.DataFrame(
        {
            "provider": ["openai"] * 2, "model": ["gpt-4o"] * 2, "occurred_at": [AT] * 2, "input_tokens": [1_000_000] * 2,
            "tenant": ["acme", "other"], "tags": tags,
        }
    )  # fmt: skip
    priced = found.price(entries)
    assert priced["cost_usd"].to_list() == [Decimal("2.2"), Decimal("2.5")]
    assert priced["list_cost_usd"].to_list() == [Decimal("2.5"), Decimal("2.5")]


@pytest.mark.parametrize("scope", ["tenant:acme", "project:apollo", "key:k1", "tag:team=search"])
def test_a_batch_finds_whom_a_rule_is_for_before_and_after_the_rules_change(scope: str) -> None:
    found = prices({"scope": scope, "provider": "openai", "multiplier": "0.5"})
    tags = [[{"key": "env", "value": "x"}, {"key": "team", "value": "search"}], [{"key": "team", "value": "ads"}], [], None]
    entries = pl.DataFrame(
        {
            "provider": ["openai"] * 4, "model": ["gpt-4o"] * 4, "occurred_at": [AT] * 4, "input_tokens": [1_000_000] * 4,
            "tenant": ["acme", "other", "", None], "project": ["apollo", "other", "", None],
            "api_key_id": ["k1", "k2", "", None], "tags": tags,
        }
    )  # fmt: skip
    half, full = Decimal("1.25"), Decimal("2.5")
    for _ in range(2):
        assert found.price(entries)["cost_usd"].to_list() == [half, full, full, full]
    found.use(rules=[rule_of({"scope": scope, "provider": "openai", "multiplier": "0.2"}, "r")])
    assert found.price(entries)["cost_usd"].to_list() == [Decimal("0.5"), full, full, full]
    assert found.price(entries)["list_cost_usd"].to_list() == [full] * 4


def test_a_name_looks_at_the_rules_that_may_be_about_it_and_at_no_others() -> None:
    tenants = [rule_of({"scope": f"tenant:t{n}", "multiplier": "0.9"}, f"t{n}") for n in range(500)]
    models = [rule_of({"model": f"gpt-{n}", "multiplier": "0.9"}, f"m{n}") for n in range(500)]
    layers = Layers([BOOK], [*tenants, *models])
    looked_at = layers._about.places("openai", ["gpt-7"], [("tenant", "t7"), ("project", "p")])
    assert [layers.rules[place].rule_id for place in looked_at] == ["m7", "t7"]


def test_a_contract_of_nothing_is_free() -> None:
    found = prices({"scope": "tenant:acme", "provider": "openai", "multiplier": "0"})
    quote = found.cost_of("openai", "gpt-4o", AT, 1000, 0, belongs=[("tenant", "acme")])
    assert (quote.cost_usd, quote.cost_state) == (Decimal(0), "free")


def test_a_change_of_rules_is_in_force_for_the_next_batch() -> None:
    found = prices()
    before = found.revision
    assert cost(found) == Decimal("2.5")
    found.use(rules=[rule_of({"model": "gpt-4o", "rates": {"input_mtok": "1"}}, "r")])
    assert cost(found) == Decimal(1)
    assert found.revision != before
    found.use(rules=[])
    assert (cost(found), found.revision) == (Decimal("2.5"), before)


def test_prices_may_change_while_batches_are_priced() -> None:
    found = prices()
    entries = pl.DataFrame(
        {"provider": ["openai"] * 500, "model": ["gpt-4o"] * 500, "occurred_at": [AT] * 500, "input_tokens": [1_000_000] * 500}
    )
    stop = threading.Event()
    seen: list[set[Decimal]] = []

    def price() -> None:
        while not stop.is_set():
            seen.append(set(found.price(entries)["cost_usd"]))

    worker = threading.Thread(target=price)
    worker.start()
    half = rule_of({"model": "gpt-4o", "multiplier": "0.5"}, "half")
    try:
        for number in range(20):
            found.use(rules=[half] if number % 2 else [])
        while worker.is_alive() and not seen:
            worker.join(0.01)
    finally:
        stop.set()
        worker.join(60)
    assert seen
    # A batch is priced by one state or the other, never by a bit of both.
    assert all(batch in ({Decimal("2.5")}, {Decimal("1.25")}) for batch in seen)


spans = st.tuples(st.integers(-5, 20), st.integers(1, 20)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    starts, ends = draw(spans)
    first, last = draw(spans.filter(lambda span: span[0] >= 0))
    over, upto = draw(spans.filter(lambda span: span[0] >= -1))
    return Box(
        starts=starts * 3_600_000_000, ends=ends * 3_600_000_000, minute_from=first, minute_to=last, over=over, upto=upto,
        weekdays=draw(st.integers(1, 127)),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(boxes(), max_size=5), st.lists(st.tuples(st.integers(-6, 45), st.integers(0, 59), st.integers(-1, 45)), min_size=20)
)
def test_however_rules_cut_the_cells_every_call_falls_into_exactly_one(
    cuts: list[Box], calls: list[tuple[int, int, int]]
) -> None:
    layers = Layers([BOOK])
    cells = layers.priced(Name(provider="deepseek", model="deepseek-v4-flash")).cells
    for number, box in enumerate(cuts):
        rates = {"input_tokens": Fraction(number + 1)}
        cells = apply(Rule(rule_id=f"r{number}", box=box, rates=rates), cells)
    for hour, minute, size in calls:
        at = (hour * 60 + minute) * 60_000_000
        holding = [cell for cell in cells if cell.box.holds(at, size)]
        assert len(holding) == (1 if size >= 0 else len(holding))
        covering = [number for number, box in enumerate(cuts) if box.holds(at, size)]
        if covering and size >= 0:
            assert holding[0].rates["input_tokens"] == covering[-1] + 1


@settings(max_examples=100, deadline=None)
@given(boxes(), boxes())
def test_inside_and_outside_make_the_whole(one: Box, other: Box) -> None:
    pieces = [piece for piece in (one.inside(other), *one.outside(other)) if piece is not None]
    for hour in range(-5, 40, 3):
        for minute in range(0, 40, 7):
            for size in range(-1, 40, 9):
                at = (hour * 60 + minute) * 60_000_000
                assert sum(piece.holds(at, size) for piece in pieces) == one.holds(at, size)


def test_a_box_that_holds_nothing_cannot_exist() -> None:
    with pytest.raises(ValueError, match="must hold something"):
        Box(starts=2, ends=1)
    assert overlay([], []) == ()
    assert EVERYWHERE.holds(0, 0)
