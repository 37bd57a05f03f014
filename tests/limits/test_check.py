"""What a check promises: all limits or none, exact to the last unit, and a reason for every no."""

import threading
from decimal import Decimal
from pathlib import Path

import pytest

from spanledger.collector.recognise import fields, leftovers
from spanledger.limits import Check
from spanledger.limits.check import LONGEST_KEPT, LONGEST_TAG, LONGEST_TAGGED, NOT_GIVEN
from tests.limits.made import Clock, add, ask, entries, entry, limits, stands


def test_calls_pass_until_the_limit_is_reached_and_not_one_more(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of, measure="cost_usd", amount="0.05")
    assert [ask(of, max_output_tokens=10) for _ in range(6)] == ["allow"] * 3 + ["warn"] * 2 + ["refuse"]


def test_200_threads_at_once_get_exactly_what_is_there(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, measure="cost_usd", amount="5.00", thresholds=[])
    passed: list[str] = []

    def client() -> None:
        passed.extend(verdict for _ in range(10) if (verdict := ask(of, max_output_tokens=10)) == "allow")

    threads = [threading.Thread(target=client) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 500
    assert stands(of, limit) == [((), 0, 5 * 10**12)]


@pytest.mark.parametrize("per", ["user", "session", "trace"])
def test_a_new_subject_is_under_its_limit_from_its_first_concurrent_calls(tmp_path: Path, per: str) -> None:
    of = limits(tmp_path, Clock())
    add(of, per=[per], amount=3, window="lifetime")
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(of, **{per: "never seen"}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer != "refuse" for answer in answers) == 3


def test_a_call_larger_than_what_is_left_is_refused_whole_and_takes_no_rest(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, measure="tokens", amount=1_000, thresholds=[])
    assert ask(of, input_tokens=500, max_output_tokens=400) == "allow"
    refused = of.check(Check(input_tokens=100, max_output_tokens=100)).refused[0]
    assert (refused.remaining, refused.fits["max_output_tokens"]) == ("100", "0")
    assert stands(of, limit) == [((), 0, 900)]
    assert ask(of, input_tokens=50, max_output_tokens=50) == "allow"


def test_a_call_that_one_limit_refuses_holds_nothing_under_the_others(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    wide = add(of, amount=100)
    add(of, amount=0, selectors={"tenant": "acme"})
    assert ask(of, tenant="acme") == "refuse"
    assert stands(of, wide) == []


def test_the_refusal_names_the_limit_that_stands_in_the_way_longest(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of, name="hour", amount=0, window="hour")
    add(of, name="month", amount=0, window="month")
    refused = of.check(Check()).refused
    assert [one.limit for one in refused] == ["month", "hour"]
    assert refused[1].retry_after_seconds == 3600
    assert refused[0].window_end is not None
    assert refused[0].window_end.isoformat() == "2026-12-01T00:00:00+00:00"


def test_a_refusal_says_used_held_amount_what_is_asked_and_what_would_fit(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of, name="acme", measure="tokens", amount=1000, selectors={"tenant": "acme"})
    of.post(entries(entry(clock, tenant="acme", input_tokens=100, output_tokens=200)))
    ask(of, tenant="acme", input_tokens=100, max_output_tokens=300)
    [refused] = of.check(Check(tenant="acme", input_tokens=50, max_output_tokens=500)).refused
    assert (refused.used, refused.held, refused.amount, refused.requested) == ("300", "400", "1000", "550")
    assert refused.fits == {"tokens": "300", "max_output_tokens": "250"}
    assert refused.scope == "tenant=acme"
    assert "holds" in refused.says


def test_every_bucket_of_per_is_its_own_and_not_given_is_one_of_them(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of, per=["user"], amount=1)
    assert [ask(of, user="a"), ask(of, user="b"), ask(of), ask(of, user="a"), ask(of)] == [*["warn"] * 3, "refuse", "refuse"]


@pytest.mark.parametrize(
    ("selectors", "subject", "covered"),
    [
        ({"tenant": "acme"}, {"tenant": "acme"}, True),
        ({"tenant": "acme"}, {"tenant": "acme2"}, False),
        ({"tenant": "acme"}, {}, False),
        ({"tenant": ["x", "acme"]}, {"tenant": "acme"}, True),
        ({"model": "gpt-4*"}, {"model": "gpt-4o"}, True),
        ({"model": "gpt-4*"}, {"model": "o3"}, False),
        ({"user": "*"}, {"user": "anyone"}, True),
        ({"user": "*"}, {}, False),
        ({"tenant": "acme", "model": "gpt-*"}, {"tenant": "acme", "model": "o3"}, False),
        ({"tag.team": "red"}, {"tags": {"team": "red"}}, True),
        ({"tag.team": "red"}, {"tags": {"crew": "red"}}, False),
        ({"session": "s"}, {"session": "s"}, True),
        ({"trace": "t"}, {"trace": "t"}, True),
        ({"environment": "prod", "service": "web", "operation": "chat"},
         {"environment": "prod", "service": "web", "operation": "chat"}, True),
        ({"provider": "openai", "project": "p", "agent": "a"}, {"provider": "openai", "project": "p", "agent": "a"}, True),
    ],
)  # fmt: skip
def test_a_limit_covers_whom_its_selectors_say(
    tmp_path: Path, selectors: dict[str, object], subject: dict[str, object], covered: bool
) -> None:
    of = limits(tmp_path, Clock())
    add(of, selectors=selectors, amount=0)
    assert (ask(of, **subject) == "refuse") is covered


def test_a_soft_limit_warns_and_a_shadow_limit_says_nothing(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of, amount=0, hard=False, action="shadow")
    assert ask(of) == "allow"
    add(of, amount=0, hard=False)
    assert ask(of) == "warn"


def test_grace_lets_calls_pass_with_a_warning_beyond_the_amount(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of, amount=10, grace="0.2", thresholds=[1])
    assert [ask(of) for _ in range(13)] == ["allow"] * 9 + ["warn"] * 3 + ["refuse"]


def test_a_limit_outside_its_dates_or_switched_off_refuses_nobody(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of, amount=0, valid_from="2026-11-26T00:00:00Z", valid_to="2026-11-27T00:00:00Z")
    add(of, amount=0, enabled=False)
    assert ask(of) == "allow"
    clock.pass_(days=1)
    assert ask(of) == "refuse"
    clock.pass_(days=1)
    assert ask(of) == "allow"


def test_an_unpriced_model_is_allowed_refused_or_counted_at_a_ceiling_as_the_limit_says(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of, measure="cost_usd", amount="1", selectors={"tenant": "a"})
    add(of, measure="cost_usd", amount="1", selectors={"tenant": "b"}, unpriced="refuse")
    ceiling = add(of, measure="cost_usd", amount="1", selectors={"tenant": "c"}, unpriced="ceiling", ceiling_usd_per_mtok=1000)
    size = {"model": "mystery", "input_tokens": 100, "max_output_tokens": 500}
    assert ask(of, tenant="a", **size) == "allow"
    [refused] = of.check(Check(tenant="b", model="mystery")).refused
    assert "no rate for mystery" in refused.price_confidence
    assert "price" in refused.says
    assert ask(of, tenant="c", **size) == "allow"
    assert ask(of, tenant="c", **size) == "refuse"
    of.post(entries(entry(clock, tenant="c", cost_usd=None, input_tokens=100, output_tokens=200)))
    assert stands(of, ceiling) == [((), 3 * 10**11, 6 * 10**11)]


def test_a_tier_without_a_price_is_held_at_the_usual_one_and_refused_where_prices_must_be_known(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, measure="cost_usd", amount=1)
    elsewhere = {"max_output_tokens": 500, "service_tier": "elsewhere"}
    assert ask(of, **elsewhere) == "allow"
    assert stands(of, limit) == [((), 0, 5 * 10**11)]
    of.update(limit.id, {"unpriced": "refuse"}, who="tests")
    assert ask(of, **elsewhere) == "refuse"


def test_a_call_of_unknown_size_is_held_at_its_models_most(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, measure="output_tokens", amount=10_000, per=["model"])
    ask(of, model="bounded")
    ask(of, model="unheard of")
    assert stands(of, limit) == [(("bounded",), 0, 500), (("unheard of",), 0, 4_096)]


def test_a_full_limit_lets_nothing_through_even_if_it_might_be_free(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of, measure="cost_usd", amount="0.01")
    assert ask(of, max_output_tokens=10) == "warn"
    assert ask(of, max_output_tokens=0) == "refuse"


def test_a_dry_run_holds_nothing(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    add(of)
    assert {ask(of, dry_run=True) for _ in range(5)} == {"warn"}
    assert of.check(Check(dry_run=True)).hold_id is None


def test_retry_after_of_a_rolling_window_is_when_enough_has_left_it(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of, amount=2, window="rolling 60s")
    of.post(entries(entry(clock)))
    clock.pass_(seconds=20)
    of.post(entries(entry(clock)))
    clock.pass_(seconds=10)
    [refused] = of.check(Check()).refused
    assert refused.retry_after_seconds == 31
    clock.pass_(seconds=30)
    assert ask(of) == "refuse"
    clock.pass_(seconds=1)
    assert ask(of) == "warn"


def test_money_is_exact_to_the_twelfth_digit(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, measure="cost_usd", amount="0.300000000001")
    of.post(entries(*(entry(clock, cost_usd="0.1") for _ in range(3))))
    assert of.buckets(limit)[0][0].reading.used == 3 * 10**11
    assert ask(of, max_output_tokens=0) == "warn"
    of.post(entries(entry(clock, cost_usd="0.000000000001")))
    assert ask(of, max_output_tokens=0) == "refuse"
    assert Decimal(of.check(Check(dry_run=True)).refused[0].used) == Decimal("0.300000000001")


@pytest.mark.parametrize(("said", "kept"), [("", None), ("y" * 600, "y" * 512), ("None", None), ("undefined", None)])
def test_a_call_is_held_in_the_bucket_in_which_it_will_be_counted(tmp_path: Path, said: str, kept: str | None) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of, amount=2, per=["user"], thresholds=[])
    assert ask(of, user=said) == "allow"
    of.post(entries(entry(clock, user=kept)))
    assert ask(of, user=said) == "refuse"


SPELLED = [
    ("azure", "gpt-4o", "azure.ai.openai"),
    ("Google", "gemini-2.5-pro", "gcp.gen_ai"),
    ("bedrock", "anthropic.claude-sonnet-5", "aws.bedrock"),
    (None, "gpt-4o", "openai"),
    ("litellm", "claude-sonnet-5", "anthropic"),
    ("ours", "of-our-own", "ours"),
]


@pytest.mark.parametrize("per", [False, True], ids=["selected", "per"])
@pytest.mark.parametrize(("said", "model", "paid"), SPELLED)
def test_a_provider_is_one_however_a_limit_a_check_and_an_entry_spell_it(
    tmp_path: Path, said: str | None, model: str, paid: str, per: bool
) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    named = said if said not in (None, "litellm") else paid
    limit = add(of, amount=3, thresholds=[], **({"per": ["provider"]} if per else {"selectors": {"provider": named}}))
    hold = of.check(Check(provider=said, model=model))
    assert ask(of, provider=paid, model=model) == "allow"
    assert ask(of, model="unheard-of") == "allow"
    of.post(entries(entry(clock, provider=paid, requested_model=model, hold_id=hold.hold_id)))
    key = (paid,) if per else ()
    assert [one for one in stands(of, limit) if one[0] == key] == [(key, 1, 1)]
    assert [ask(of, provider=said, model=model) for _ in range(2)] == ["allow", "refuse"]


def test_members_pauses_and_top_ups_of_a_provider_are_named_as_the_ledger_does(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, amount=1, per=["provider"], thresholds=[])
    of.admin.grant(limit, "top_up", 1, reason="busy", who="tests", subject={"provider": "bedrock"})
    assert [ask(of, provider="aws.bedrock") for _ in range(3)] == ["allow", "allow", "refuse"]
    assert of.admin.put_tier({"name": "clouds", "dimension": "provider", "members": ["vertex", "x*"]}, who="tests").members == (
        "gcp.vertex_ai",
        "x*",
    )
    of.admin.pause({"provider": ["azure"]}, reason="an audit", who="tests")
    assert ask(of, provider="azure_openai", dry_run=True) == "refuse"


def test_checks_read_names_as_the_collector_does() -> None:
    assert fields.LONGEST_TEXT == LONGEST_KEPT
    assert set(fields._ABSENT.to_pylist()) == NOT_GIVEN
    assert leftovers.LONGEST_REST == LONGEST_TAGGED
    assert Check(tags={"k" * 200: '"v"' + "v" * 300}).subject() | {} == Check().subject() | {
        "tag." + "k" * LONGEST_TAG: 'v"' + "v" * 254
    }
