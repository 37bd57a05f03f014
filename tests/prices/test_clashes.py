"""Two rules that could cover one call and of which neither comes before the other: refused, both named."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.collector.pricing.rules import Clash
from spanledger.control.tables import price_rules
from spanledger.prices import Prices
from spanledger.prices.layers import Layers, Name
from spanledger.prices.rule import Rule
from spanledger.prices.rule_form import rule_of
from tests.prices.desks import At, desk_at

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    with desk_at(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture
def at(desk: At) -> Iterator[At]:
    yield desk
    with desk.control.change(who="test") as change:
        for row in desk.desk.rules.in_force():
            change.update(price_rules, row["id"], {"superseded_at": AT})


TENTH: dict[str, Any] = {"provider": "openai", "model": "gpt-4o", "multiplier": "0.9"}

#: what is in force, what is to be, and whether they clash
PAIRS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("one tag, one value", {"scope": "tag:team=a"}, {"scope": "tag:team=a"}, True),
    ("one tag has one value", {"scope": "tag:team=a"}, {"scope": "tag:team=b"}, False),
    ("a call may bear two tags", {"scope": "tag:team=a"}, {"scope": "tag:env=prod"}, True),
    ("two tags, and one is told to go over the other", {"scope": "tag:team=a"}, {"scope": "tag:env=prod", "priority": 1}, False),
    ("two tags, one after the other", {"scope": "tag:team=a", "valid_to": "2026-12-01"},
     {"scope": "tag:env=prod", "valid_from": "2026-12-01"}, False),
    ("two tags for two models", {"scope": "tag:team=a"}, {"scope": "tag:env=prod", "model": "gpt-4.1"}, False),
    ("a call has one tenant", {"scope": "tenant:a"}, {"scope": "tenant:b"}, False),
    ("a project goes over a tenant", {"scope": "tenant:a"}, {"scope": "project:b"}, False),
    ("a key goes over a project", {"scope": "project:a"}, {"scope": "key:b"}, False),
    ("everybody twice", {}, {}, True),
    ("a provider by two of its spellings", {"provider": "azure"}, {"provider": "azure.ai.openai"}, True),
    ("capitals are no difference", {"model": "gpt-4o"}, {"model": "GPT-4o"}, True),
    ("a model goes over a beginning", {"model": "gpt-4*"}, {"model": "gpt-4o"}, False),
    ("rates of the standard tier and of any", {"rates": {"input_mtok": 1}}, {"rates": {"input_mtok": 2}, "tier": "*"}, True),
    ("two tiers", {"tier": "flex"}, {"tier": "batch"}, False),
    ("one tier by two of its spellings", {"tier": "batch"}, {"tier": "batches"}, True),
    ("two regions", {"region": "eu"}, {"region": "us"}, False),
    ("dates that meet", {"valid_to": "2026-12-01"}, {"valid_from": "2026-12-01"}, False),
    ("dates that overlap", {"valid_to": "2026-12-02"}, {"valid_from": "2026-12-01"}, True),
    ("hours that meet", {"hours": "00:00-08:00"}, {"hours": "08:00-24:00"}, False),
    ("days that overlap", {"weekdays": "sat,sun"}, {"weekdays": "sun,mon"}, True),
    ("sizes that meet", {"upto_tokens": 1000}, {"over_tokens": 1000}, False),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "clash"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_rules_that_could_cover_one_call_are_refused_and_both_named(
    at: At, one: dict[str, Any], other: dict[str, Any], clash: bool
) -> None:
    first, second = ({**({} if "rates" in form else {"multiplier": "0.9"}), "provider": "openai", "model": "gpt-4o", **form}
                     for form in (one, other))  # fmt: skip
    (made,) = at.desk.make([first], who="me")
    if not clash:
        at.desk.make([second], who="me")
        return
    with pytest.raises(
        Clash, match=rf"the new rule \(contract, .*\) overlaps rule {made['id']} \(contract, .*\), of the same rank"
    ):
        at.desk.make([second], who="me")
    assert [row["id"] for row in at.desk.rules.in_force()] == [made["id"]]


def test_of_several_at_once_the_two_that_clash_are_named_by_their_number(at: At) -> None:
    forms = [{**TENTH, "scope": scope} for scope in ("tag:team=a", "tenant:t", "tag:env=prod")]
    with pytest.raises(Clash, match=r"rules\[2\] \(.*tag env=prod\) overlaps rules\[0\] \(.*tag team=a\)"):
        at.desk.make(forms, who="me")
    assert at.desk.rules.in_force() == []


def test_of_two_tags_the_rule_with_the_higher_priority_goes_over_the_other() -> None:
    forms = [{**TENTH, "scope": "tag:team=a"}, {"provider": "openai", "model": "gpt-4o", "scope": "tag:env=prod", "priority": 1,
                                                 "rates": {"input_mtok": "1"}}]  # fmt: skip
    for order in (forms, forms[::-1]):
        prices = Prices(rules=[rule_of(form, f"r{place}") for place, form in enumerate(order)])
        both = (("tag", "team=a"), ("tag", "env=prod"))
        assert prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0, belongs=both).cost_usd == Decimal(1)


def test_of_two_names_of_one_length_the_one_that_was_sent_goes_over_the_books() -> None:
    """`claude-4-5-haiku` is what the book calls `claude-haiku-4-5`: as long, so of one rank."""
    for ids in ("ab", "ba"):
        said = zip(ids, ("claude-4-5-haiku", "claude-haiku-4-5"), ("7", "8"), strict=True)
        rules = [rule_of({"model": model, "rates": {"input_mtok": usd}}, rule_id) for rule_id, model, usd in said]
        prices = Prices(rules=rules)
        assert prices.cost_of("anthropic", "claude-4-5-haiku", AT, 1_000_000, 0).cost_usd == Decimal(7)
        assert prices.cost_of("anthropic", "claude-haiku-4-5", AT, 1_000_000, 0).cost_usd == Decimal(8)


SCOPES = ["", "tenant:a", "tenant:b", "project:p", "key:k", "tag:team=a", "tag:team=b", "tag:env=x"]
FORMS = st.builds(
    lambda scope, model, provider, tier, priority, rated: {
        "scope": scope, "model": model, "provider": provider, "tier": tier, "priority": priority,
        **({"rates": {"input_mtok": "1"}} if rated else {"multiplier": "0.5"}),
    },
    st.sampled_from(SCOPES), st.sampled_from(["*", "gpt-4*", "gpt-4o*", "gpt-4o", "GPT-4O"]), st.sampled_from(["*", "openai"]),
    st.sampled_from(["", "*", "standard", "flex"]), st.sampled_from([0, 0, 1]), st.booleans(),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(FORMS, min_size=2, max_size=6))
def test_among_rules_that_do_not_clash_what_a_call_costs_does_not_hang_on_their_ids(forms: list[dict[str, Any]]) -> None:
    kept: list[dict[str, Any]] = []
    for form in forms:
        if not any(rule_of(form, "new").clashes(rule_of(other, "old")) for other in kept):
            kept.append(form)
    there = [rule_of(form, f"r{place}") for place, form in enumerate(kept)]
    back: list[Rule] = [rule_of(form, f"r{9 - place}") for place, form in enumerate(kept)]
    whole = tuple(tuple(scope.split(":")) for scope in ("tenant:a", "project:p", "key:k", "tag:team=a", "tag:env=x"))
    for tier in ("standard", "flex"):
        name = Name(provider="openai", model="gpt-4o", tier=tier, belongs=whole)  # type: ignore[arg-type]
        one, other = (Layers(BOOKS, rules).priced(name).cells for rules in (there, back))
        assert [(cell.box, cell.rates, cell.unpriced) for cell in one] == [(c.box, c.rates, c.unpriced) for c in other]


BOOKS = Prices().layers.books


def test_a_change_of_one_among_many_rules_looks_anew_only_at_the_names_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [rule_of({**TENTH, "scope": f"tenant:t{n}"}, f"r{n}") for n in range(500)]
    before = Layers(BOOKS, rules)
    names = [Name(provider="openai", model="gpt-4o", belongs=(("tenant", f"t{n}"),)) for n in range(500)]
    said = [before.priced(name) for name in names]
    asked: list[Name] = []
    looked_up = Layers._priced
    monkeypatch.setattr(Layers, "_priced", lambda self, *what: asked.append(what[2]) or looked_up(self, *what))  # type: ignore[func-returns-value]
    changed = [*rules[1:], rule_of({**TENTH, "multiplier": "0.5", "scope": "tenant:t7"}, "other")]
    after = Layers(BOOKS, [rule for rule in changed if rule.rule_id != "r7"], before)
    again = [after.priced(name) for name in names]
    assert asked == [names[0], names[7]]
    assert [place for place, (was, now) in enumerate(zip(said, again, strict=True)) if was is not now] == [0, 7]
    assert again == [Layers(BOOKS, after.rules).priced(name) for name in names]
