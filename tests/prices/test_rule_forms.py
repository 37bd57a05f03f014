"""Rules as people write them: what is wrong is refused by name, and rules of the same rank that overlap are found."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.collector.pricing.unheard import unheard
from spanledger.prices.books.snapshot import installed
from spanledger.prices.layers import Layers
from spanledger.prices.rule_form import FIELDS, RuleError, moment_of, rule_of

#: A form that is wrong → the field that the error names, and a word of what it says.
WRONG = [
    ({"rates": {"input_mtok": "-1"}}, "rates.input_mtok", "below zero"),
    ({"rates": {"input_mtok": "much"}}, "rates.input_mtok", "not a number"),
    ({"rates": {"input_mtok": "NaN"}}, "rates.input_mtok", "not a number"),
    ({"rates": {"input_mtok": True}}, "rates.input_mtok", "not a number"),
    ({"rates": {"input_mtok": "1e30"}}, "rates.input_mtok", "million"),
    ({"rates": {"input_mtk": "1"}}, "rates.input_mtk", "did you mean input_mtok"),
    ({"rates": {"bananas": "1"}}, "rates.bananas", "known:"),
    ({"rates": ["1"]}, "rates", "should be an object"),
    ({}, "rates", "exactly one"),
    ({"rates": {"input_mtok": "1"}, "multiplier": "2"}, "multiplier", "exactly one"),
    ({"multiplier": "-0.1"}, "multiplier", "below zero"),
    ({"multiplier": "1000"}, "multiplier", "hundredfold"),
    ({"multiplier": "1", "valid_from": "2026-12-01", "valid_to": "2026-11-01"}, "valid_to", "not after"),
    ({"multiplier": "1", "valid_from": "soon"}, "valid_from", "no moment"),
    ({"multiplier": "1", "valid_from": "2026-12-01T00:00:00"}, "valid_from", "offset"),
    ({"multiplier": "1", "hours": "22:00-02:00"}, "hours", "two rules"),
    ({"multiplier": "1", "hours": "late"}, "hours", "HH:MM-HH:MM"),
    ({"multiplier": "1", "weekdays": "someday"}, "weekdays", "someday"),
    ({"multiplier": "1", "over_tokens": 10, "upto_tokens": 5}, "upto_tokens", "not above"),
    ({"multiplier": "1", "scope": "acme"}, "scope", "tenant:NAME"),
    ({"multiplier": "1", "scope": "tag:team"}, "scope", "tag:NAME=VALUE"),
    ({"multiplier": "1", "scope": "tag:=red"}, "scope", "tag:NAME=VALUE"),
    ({"multiplier": "1", "scope": 5}, "scope", "tenant:NAME"),
    ({"multiplier": "1", "scope": ["tenant:a"]}, "scope", "tenant:NAME"),
    ({"multiplier": "1", "scope": "tenant:" + "a" * 513}, "scope", "512"),
    ({"multiplier": "1", "scope": "tenant:a\nb"}, "scope", "printed"),
    ({"multiplier": "1", "scope": "tenant:a", "layer": "site"}, "scope", "everybody"),
    ({"multiplier": "1", "layer": "top"}, "layer", "none of"),
    ({"multiplier": "1", "model": "gpt-*-mini"}, "model", "at the end only"),
    ({"multiplier": "1", "price": "2"}, "price", "not a field"),
    ({"same_as": "gpt-4o"}, "same_as", "PROVIDER/MODEL"),
    ({"layer": "default", "multiplier": "1"}, "multiplier", "has rates"),
    ({"rates": []}, "rates", "should be an object"),
    ({"rates": {"input_mtok": "1e-400"}}, "rates.input_mtok", "18 digits"),
    ({"rates": {"input_mtok": "1e-5000"}}, "rates.input_mtok", "not a number"),
    ({"rates": {"input_mtok": "1_000"}}, "rates.input_mtok", "not a number"),
    ({"rates": {"input_mtok": "१"}}, "rates.input_mtok", "not a number"),
    ({"rates": {"input_mtok": " 5 "}}, "rates.input_mtok", "not a number"),
    ({"multiplier": "0.1234567890123456789"}, "multiplier", "18 digits"),
    ({"multiplier": "1", "provider": ""}, "provider", "is empty"),
    ({"multiplier": "1", "model": " "}, "model", "is empty"),
    ({"multiplier": "1", "provider": 5}, "provider", "not a text"),
    ({"multiplier": "1", "model": "a\x00b"}, "model", "printed"),
    ({"multiplier": "1", "model": "m" * 513}, "model", "512"),
    ({"multiplier": "1", "scope": "tenant:*"}, "scope", "one tenant"),
    ({"multiplier": "1", "valid_from": "9999-12-31T23:59:59-12:00"}, "valid_from", "9999"),
    ({"multiplier": "1", "valid_from": "0001-01-01T00:00:00+12:00"}, "valid_from", "9999"),
]  # fmt: skip


#: Whatever JSON may say in a field.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2), max_leaves=4,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([*FIELDS, "rates.input_mtok"]), ANYTHING)
def test_whatever_a_field_says_is_a_rule_or_refused_by_that_field(field: str, value: Any) -> None:
    form: dict[str, Any] = {"multiplier": "1"} if field not in ("rates", "same_as", "rates.input_mtok") else {}
    form |= {"rates": {"input_mtok": value}} if field == "rates.input_mtok" else {field: value}
    refused = ""
    try:
        rule_of(form, "r")
    except RuleError as error:
        refused = error.field
    # Without what is left empty, there is nothing that the rule does.
    assert refused == "" or refused.startswith((field, "rates"))


@pytest.mark.parametrize("day", ["2026-12-01", "20261201"])
def test_a_day_is_its_midnight_in_utc(day: str) -> None:
    assert moment_of("valid_from", day) == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(("form", "field", "says"), WRONG)
def test_a_wrong_rule_is_refused_with_the_field_named(form: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(RuleError) as caught:
        rule_of(form, "r")
    assert caught.value.field == field
    assert says in caught.value.says


@pytest.mark.parametrize(
    ("change", "clash"),
    [
        ({}, True),
        ({"scope": "tenant:other"}, False),
        ({"model": "gpt-4.1"}, False),
        ({"provider": "azure"}, False),
        ({"priority": 1}, False),
        ({"layer": "site", "scope": ""}, False),
        ({"valid_from": "2027-01-01"}, False),
        ({"valid_from": "2026-12-31"}, True),
        ({"weekdays": "sat"}, True),
        ({"multiplier": "0.5", "rates": {}}, True),
        ({"provider": "OpenAI"}, True),
    ],
)
def test_rules_of_the_same_rank_clash_where_they_overlap(change: dict[str, Any], clash: bool) -> None:
    form = {"scope": "tenant:acme", "provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": "1"}}
    one = rule_of({**form, "valid_to": "2027-01-01"}, "one")
    other = rule_of({**form, **change}, "other")
    assert one.clashes(other) is clash
    assert other.clashes(one) is clash


OWN = rule_of({"provider": "heard", "model": "my-llm", "rates": {"input_mtok": "1"}}, "own")


@pytest.mark.parametrize(
    ("provider", "model", "heard"),
    [
        ("opnai", "gpt-4o", False),
        ("openai", "gtp-4o*", False),
        ("openai", "gpt-4o-2024-11-20", True),
        ("openai", "GPT-4*", True),
        ("azure.ai.openai", "gpt-4o*", True),
        ("*", "*", True),
        ("*", "gpt-9*", False),
        ("heard", "my-*", True),
        ("*", "my-llm", True),
        ("heard", "your-*", False),
    ],
)
def test_a_multiplier_is_told_whether_anybody_has_a_price_to_multiply(provider: str, model: str, heard: bool) -> None:
    row = {**dict.fromkeys(FIELDS), "id": "r", "provider": provider, "model": model, "multiplier": Decimal("0.9")}
    assert (unheard(Layers([installed()], [OWN]), row) is None) == heard
    assert unheard(Layers([installed()]), {**row, "multiplier": None}) is None
