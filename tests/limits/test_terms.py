"""What bends limits for some: tiers, pauses, top-ups, overrides, resets, what rolls over. All of it is audited."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from spanledger.control import TABLES, NotFound
from spanledger.limits import Check, LimitError, Limits
from tests.limits.made import Clock, add, ask, control, entries, entry, limits, stands
from tests.limits.test_post import history

MONEY = {"measure": "cost_usd", "thresholds": []}


def answers(of: Limits, count: int, **fields: Any) -> list[str]:
    return [ask(of, **fields) for _ in range(count)]


def test_members_of_a_tier_are_under_its_limits_each_with_a_bucket_of_their_own(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    of.admin.put_tier({"name": "free", "is_default": True}, who="tests")
    of.admin.put_tier({"name": "pro", "members": ["acme", "big-*"]}, who="tests")
    add(of, tier="free", amount=1, thresholds=[])
    add(of, tier="pro", amount=2, thresholds=[])
    assert answers(of, 2, tenant="nobody knows me") == ["allow", "refuse"]
    assert answers(of, 2, tenant="another") == ["allow", "refuse"]
    assert answers(of, 3, tenant="acme") == ["allow", "allow", "refuse"]
    assert answers(of, 3, tenant="big-one") == ["allow", "allow", "refuse"]
    assert of.check(Check(tenant="acme")).refused[0].scope == "tier=pro tenant=acme"


def test_who_moves_to_another_tier_takes_what_they_used_along_in_one_change_that_is_audited(tmp_path: Path) -> None:
    clock = Clock()
    connection = history(tmp_path, *(entry(clock, tenant="acme") for _ in range(2)))
    of = limits(tmp_path, clock, history=lambda: connection.cursor())
    free = of.admin.put_tier({"name": "free", "members": ["acme", "b"]}, who="tests")
    pro = of.admin.put_tier({"name": "pro", "members": ["big-*"]}, who="tests")
    of.admin.put_tier({"name": "agents", "dimension": "agent", "members": ["acme"]}, who="tests")
    add(of, tier="free", amount=2)
    limit = add(of, tier="pro", amount=10)
    assert ask(of, tenant="acme") == "refuse"
    moved = of.admin.move(["acme", "new"], pro.id, who="ann", why="signed")
    assert moved == of.admin.move(["acme"], pro.id, who="ann", why="again")
    assert [(t.name, t.members) for t in of.admin.tiers()] == [
        ("agents", ("acme",)),
        ("free", ("b",)),
        ("pro", ("big-*", "acme", "new")),
    ]
    assert ask(of, tenant="acme") == "allow"
    assert stands(of, limit) == [(("acme",), 2, 1)]
    audit = [row for row in control(tmp_path).rows(TABLES["audit"]) if row["action"] == "update"]
    assert len({row["at"] for row in audit}) == 1
    assert {(row["row_id"], row["who"], row["why"]) for row in audit} == {(tier.id, "ann", "signed") for tier in (free, pro)}


def test_who_leaves_a_tier_takes_what_they_used_along_into_the_default_one(tmp_path: Path) -> None:
    clock = Clock()
    connection = history(tmp_path, *(entry(clock, tenant="acme") for _ in range(2)))
    of = limits(tmp_path, clock, history=lambda: connection.cursor())
    of.admin.put_tier({"name": "free", "is_default": True}, who="tests")
    pro = of.admin.put_tier({"name": "pro", "members": ["acme"]}, who="tests")
    limit = add(of, tier="free", amount=2, thresholds=[])
    assert stands(of, limit) == []
    of.admin.put_tier({"members": []}, tier_id=pro.id, who="tests")
    assert stands(of, limit) == [(("acme",), 2, 0)]
    of.admin.put_tier({"members": ["acme"]}, tier_id=pro.id, who="tests")
    assert stands(of, limit) == []
    of.admin.delete_tier(pro.id, who="tests")
    assert stands(of, limit) == [(("acme",), 2, 0)]


@pytest.mark.parametrize("members", [[], "acme", [""], ["a*b"], [7], None])
def test_whom_to_move_must_be_a_list_of_values(tmp_path: Path, members: Any) -> None:
    of = limits(tmp_path, Clock())
    pro = of.admin.put_tier({"name": "pro"}, who="tests")
    with pytest.raises(LimitError) as caught:
        of.admin.move(members, pro.id, who="tests")
    assert caught.value.field == "members"
    with pytest.raises(NotFound):
        of.admin.move(["acme"], "tier_none", who="tests")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "free"}, "name"),
        ({"name": " Free "}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x", "dimension": "planet"}, "dimension"),
        ({"name": "x", "members": ["acme"]}, "members"),
        ({"name": "x", "members": "acme"}, "members"),
        ({"name": "x", "members": ["a*b"]}, "members"),
        ({"name": "x", "is_default": True}, "is_default"),
        ({"name": "x", "is_default": "yes"}, "is_default"),
    ],
)
def test_tiers_that_overlap_or_make_no_sense_are_refused(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    of = limits(tmp_path, Clock())
    of.admin.put_tier({"name": "free", "members": ["acme"], "is_default": True}, who="tests")
    with pytest.raises(LimitError) as caught:
        of.admin.put_tier(fields, who="tests")
    assert caught.value.field == field


def test_a_limit_of_an_unknown_tier_is_refused_and_a_tier_in_use_stays(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    with pytest.raises(LimitError, match="tier"):
        add(of, tier="gold")
    tier = of.admin.put_tier({"name": "gold"}, who="tests")
    limit = add(of, tier="gold")
    with pytest.raises(LimitError):
        of.admin.delete_tier(tier.id, who="tests")
    of.delete(limit.id, who="tests")
    of.admin.delete_tier(tier.id, who="tests")
    assert of.admin.tiers() == []


def test_a_paused_subject_is_refused_until_it_is_resumed(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    pause = of.admin.pause({"tenant": "acme"}, reason="runaway agent", who="ann")
    refused = of.check(Check(tenant="acme", user="u"))
    assert refused.verdict == "refuse"
    assert "runaway agent" in refused.refused[0].says
    assert ask(of, tenant="other") == "allow"
    of.admin.resume(pause.id, who="ann")
    assert ask(of, tenant="acme") == "allow"
    with pytest.raises(NotFound):
        of.admin.resume(pause.id, who="ann")
    found = [(r["action"], r["who"]) for r in of._control.rows(TABLES["audit"]) if r["table_name"] == "pauses"]
    assert sorted(found) == [("delete", "ann"), ("insert", "ann")]


def test_a_pause_with_an_end_ends(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    of.admin.pause({"user": "u"}, reason="an hour off", who="ann", until=clock() + timedelta(hours=1))
    assert of.check(Check(user="u")).refused[0].retry_after_seconds == 3600
    clock.pass_(hours=1)
    assert ask(of, user="u") == "allow"
    assert of.admin.pauses() == []


def test_a_limit_pauses_whom_it_finds_at_110_percent_until_someone_resumes_them(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    add(of, name="cap", **MONEY, amount="0.10", action="pause", per=["user"], window="day")
    of.post(entries(*(entry(clock, user="u") for _ in range(10))))
    assert of.admin.pauses() == []
    of.post(entries(entry(clock, user="u")))
    of.post(entries(entry(clock, user="u")))
    [pause] = of.admin.pauses()
    assert pause.reason == "'cap' is at 110 % of its amount"
    clock.pass_(days=1)
    assert [ask(of, user="u", max_output_tokens=1), ask(of, user="v", max_output_tokens=1)] == ["refuse", "allow"]
    of.admin.resume(pause.id, who="ann", reason="talked to them")
    assert ask(of, user="u", max_output_tokens=1) == "allow"


def test_a_limit_pauses_one_bucket_and_nobody_beside_it(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, name="cap", amount=1, action="pause", per=["user"], window="day")
    for user in (None, "*", "a*"):
        of.post(entries(*(entry(clock, user=user) for _ in range(2))))
    assert sorted(pause.scope for pause in of.admin.pauses()) == ["user=(not given)", "user=*", "user=a*"]
    verdicts = {user: of.check(Check(user=user)) for user in (None, "*", "a*", "abc", "innocent")}
    paused = {user: bool(verdict.refused and verdict.refused[0].pause_id) for user, verdict in verdicts.items()}
    assert paused == {None: True, "*": True, "a*": True, "abc": False, "innocent": False}
    assert sorted(p.scope for p in of.admin.pauses() if p.touches({"user": None})) == ["user=(not given)"]
    of.delete(limit.id, who="ann")
    assert of.admin.pauses() == []
    assert [ask(of, user=user) for user in paused] == ["allow"] * 5


def test_a_limit_pauses_by_what_it_stops_at_now_and_only_while_it_is_in_force(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, amount=10, action="pause", per=["user"], window="lifetime")
    add(of, amount=1, action="pause", window="lifetime", valid_from=(clock() + timedelta(days=1)).isoformat())
    of.admin.grant(limit, "top_up", 10, subject={"user": "u"}, reason="paid", who="ann", expires_at=clock() + timedelta(days=9))
    of.post(entries(*(entry(clock, user="u") for _ in range(15))))
    assert of.admin.pauses() == []
    assert [ask(of, user="u"), ask(of, user="u")] == ["warn", "warn"], "from 16 of 20 on"
    of.post(entries(*(entry(clock, user="u") for _ in range(7))))
    assert [pause.reason.partition(" is at ")[2] for pause in of.admin.pauses()] == ["110 % of its amount"]
    of.update(limit.id, {"amount": 10, "description": "no more than before"}, who="ann")
    assert len(of.admin.pauses()) == 1
    of.update(limit.id, {"amount": 30}, who="ann")
    assert of.admin.pauses() == []


@pytest.mark.parametrize(
    ("given", "amount", "user", "paused"),
    [
        ("top_up", 10, "u", "v"),
        ("override", 20, "u", "v"),
        ("reset", 0, "u", "v"),
        ("override", 9, "u", "uv"),
        ("top_up", 10, "v", "u"),
    ],
)
def test_whom_a_limit_paused_goes_on_when_it_gives_so_much_more_that_it_would_not_pause_them(
    tmp_path: Path, given: Literal["top_up", "override", "reset"], amount: int, user: str, paused: str
) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, amount=10, action="pause", per=["user"], thresholds=[])
    of.post(entries(*(entry(clock, user=user) for user in "uv" for _ in range(12))))
    assert answers(of, 2, user="u") == ["refuse", "refuse"]
    if given == "reset":
        of.admin.reset(limit, {"user": user}, reason="our bug", who="ann")
    else:
        of.admin.grant(limit, given, amount, subject={"user": user}, reason="paid", who="ann")
    assert sorted(pause.selectors["user"][0] for pause in of.admin.pauses()) == list(paused)
    assert ask(of, user="u") == ("refuse" if "u" in paused else "allow")


def test_a_configuration_that_raises_a_limit_or_leaves_it_out_ends_what_it_paused(tmp_path: Path) -> None:
    clock = Clock()
    connection = history(tmp_path, *(entry(clock, tenant=tenant) for tenant in "aab"))
    given = {"name": "a", "measure": "requests", "amount": 1, "window": "day", "per": ["tenant"], "action": "pause"}
    other = {**given, "name": "b", "window": "week"}

    def started_with(*configured: dict[str, Any]) -> Limits:
        of = limits(tmp_path, clock, history=lambda: connection.cursor())
        of.configure(configured, count=False)
        of.rebuild(connection)
        return of

    of = started_with(given, other)
    of.post(entries(entry(clock, tenant="a")))
    assert len(of.admin.pauses()) == 2
    of = started_with(given | {"amount": 4})
    assert of.admin.pauses() == []
    assert ask(of, tenant="a") == "allow"
    assert {(row["who"], row["action"]) for row in control(tmp_path).rows(TABLES["audit"]) if row["table_name"] == "pauses"} == {
        ("limit a", "insert"),
        ("limit b", "insert"),
        ("configuration", "delete"),
    }


def test_a_top_up_adds_to_the_amount_until_it_expires(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, amount=1, per=["user"], thresholds=[], window="lifetime")
    grant = of.admin.grant(limit, "top_up", 2, subject={"user": "u"}, reason="paid", who="ann")
    assert grant.expires_at == clock() + timedelta(days=1)
    assert answers(of, 4, user="u", lease_seconds=86_400) == ["allow"] * 3 + ["refuse"]
    assert answers(of, 2, user="v") == ["allow", "refuse"]
    clock.pass_(days=1, seconds=1)
    assert answers(of, 2, user="u") == ["allow", "refuse"]


def test_two_collectors_that_start_together_with_a_raised_limit_both_start(tmp_path: Path) -> None:
    clock = Clock()
    connection = history(tmp_path, entry(clock), entry(clock))
    given = {"name": "a", "measure": "requests", "amount": 1, "window": "day", "action": "pause"}
    first = limits(tmp_path, clock, history=lambda: connection.cursor())
    first.configure([given])
    first.post(entries(entry(clock)))
    assert len(first.admin.pauses()) == 1
    both = [limits(tmp_path, clock, history=lambda: connection.cursor()) for _ in range(2)]
    for of in both:
        of.configure([given | {"amount": 9}], count=False)
    for of in both:
        of.rebuild(connection)
        assert of.admin.pauses() == []


def test_what_is_over_costs_a_check_nothing(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, amount=1, thresholds=[])
    until = clock() + timedelta(minutes=1)
    of.admin.grant(limit, "top_up", 5, reason="paid", who="ann", expires_at=until)
    of.admin.pause({"tenant": "acme"}, reason="stop", who="ann", until=until)
    clock.pass_(minutes=1)
    of.reload()
    cover = of.covering.cover({"tenant": "acme"}, of.micros())
    assert (cover.pauses, [covered.plain for covered in cover.limits]) == ([], [True])
    assert answers(of, 2, tenant="acme") == ["allow", "refuse"]


def test_an_override_stands_instead_of_the_amount_for_a_time(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock)
    limit = add(of, amount=0, thresholds=[])
    grant = of.admin.grant(limit, "override", 1, expires_at=clock() + timedelta(hours=1), reason="launch", who="ann")
    assert answers(of, 2, lease_seconds=1) == ["allow", "refuse"]
    clock.pass_(hours=1)
    assert ask(of) == "refuse"
    assert of.admin.grants(limit.id) == []
    of.admin.revoke_grant(grant.id, who="ann")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": -1}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": "x"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"reason": ""}, "reason"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"subject": {}}, "subject.user"),
        ({"subject": {"user": "u", "tenant": "t"}}, "subject.tenant"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused_with_the_field(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    of = limits(tmp_path, Clock())
    limit = add(of, per=["user"])
    with pytest.raises(LimitError) as caught:
        of.admin.grant(limit, "top_up", fields.pop("amount", 1), **{"reason": "r", "who": "ann", **fields})
    assert caught.value.field == field


@pytest.mark.parametrize("window", ["day", "rolling 1h", "lifetime"])
def test_a_reset_forgets_what_was_counted_also_after_a_restart(tmp_path: Path, window: str) -> None:
    clock = Clock()
    rows = [entry(clock, user="u", occurred_at=clock() - timedelta(minutes=n)) for n in range(3)]
    connection = history(tmp_path, *rows)
    of = limits(tmp_path, clock, history=lambda: connection.cursor())
    limit = add(of, amount=3, per=["user"], window=window)
    assert ask(of, user="u") == "refuse"
    assert of.admin.reset(limit, {"user": "u"}, reason="our bug", who="ann") == 3
    assert stands(of, limit) == []
    of.rebuild(connection)
    assert stands(of, limit) == []
    of.post(entries(entry(clock, user="u")))
    assert stands(of, limit) == [(("u",), 1, 0)]
    clock.pass_(hours=2)
    assert ask(of, user="u") == "allow"


@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        ({"measure": "tokens", "amount": 100}, ["refuse"]),
        ({"per": []}, ["refuse"]),
        ({"selectors": {"user": "v"}}, ["allow"]),
        ({"amount": 4}, ["allow"]),
    ],
)
def test_what_a_reset_has_forgotten_is_not_taken_from_what_a_changed_limit_counts(
    tmp_path: Path, change: dict[str, Any], verdicts: list[str]
) -> None:
    clock = Clock()
    connection = history(tmp_path, entry(clock, user="u", output_tokens=100, cost_usd="4.00"))
    of = limits(tmp_path, clock, history=lambda: connection.cursor())
    limit = add(of, amount="3.00", per=["user"], **MONEY)
    of.admin.grant(limit, "override", "3.50", subject={"user": "u"}, reason="r", who="ann")
    of.admin.reset(limit, {"user": "u"}, reason="our bug", who="ann")
    limit = of.update(limit.id, change, who="ann")
    assert all(used >= 0 for _, used, _ in stands(of, limit))
    assert [ask(of, user="u", input_tokens=0, max_output_tokens=100)] == verdicts


def test_what_was_forgotten_is_not_below_nothing_once_the_calls_turn_out_cheaper(tmp_path: Path) -> None:
    clock = Clock()
    connection = history(tmp_path, wrong := entry(clock, user="u", cost_usd="4.00"))
    of = limits(tmp_path, clock, history=lambda: connection.cursor())
    for window in ("day", "rolling 1h"):
        of.admin.reset(add(of, amount="3.00", per=["user"], window=window, **MONEY), {"user": "u"}, reason="r", who="ann")
    zero = {"calls": 0, "input_tokens": 0, "output_tokens": 0}
    cheaper = entry(clock, kind="adjustment", user="u", cost_usd="-3.00", stands_for=wrong["entry_id"], **zero)
    connection = history(tmp_path, cheaper)
    of.post(entries(cheaper))
    assert [stands(of, limit) for limit in of.all()] == [[], []]
    of.rebuild(connection)
    assert [stands(of, limit) for limit in of.all()] == [[], []]
    of.post(entries(entry(clock, user="u", cost_usd="3.00")))
    assert ask(of, user="u", max_output_tokens=1) == "refuse"


def test_a_change_undoes_nothing_that_another_collector_changed_a_moment_ago(tmp_path: Path) -> None:
    one, other = (limits(tmp_path, Clock()) for _ in range(2))
    limit, tier = add(one, amount=5), one.admin.put_tier({"name": "pro", "members": ["a"]}, who="ann")
    other.reload()
    one.update(limit.id, {"amount": 1}, who="ann")
    one.admin.put_tier({"members": ["a", "b"]}, tier_id=tier.id, who="ann")
    assert other.update(limit.id, {"grace": "0.5"}, who="bob").amount == 1
    assert other.admin.put_tier({"description": "who pays"}, tier_id=tier.id, who="bob").members == ("a", "b")
    one.create({"name": "of pro", "measure": "requests", "amount": 1, "window": "day", "tier": "pro"}, who="ann")
    with pytest.raises(LimitError):
        other.admin.delete_tier(tier.id, who="bob")


def test_a_limit_that_is_per_something_else_by_now_shows_no_bucket_of_before(tmp_path: Path) -> None:
    clock = Clock()
    of = limits(tmp_path, clock, history=lambda: history(tmp_path))
    limit = add(of, amount=5, per=["user"])
    hold = of.check(Check(user="u", tenant="t")).hold_id
    assert hold is not None
    for per in ([], ["user", "tenant"], ["tenant"]):
        limit = of.update(limit.id, {"per": per}, who="ann")
        assert [(bucket.key, bucket.reading.held) for bucket in of.buckets(limit)[0]] == [(tuple(name[0] for name in per), 1)]
    of.release(hold)
    assert of.buckets(limit)[0] == []


def test_what_was_left_rolls_over_once_and_not_beyond_its_share(tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 11, 1, 1, tzinfo=UTC))
    of = limits(tmp_path, clock)
    limit = add(of, amount=10, window="day", rollover="0.5", thresholds=[])
    of.post(entries(*(entry(clock) for _ in range(7))))
    clock.pass_(days=1)
    assert [a.demand.cap for a in of.standing(limit, [()])] == [10], "made within the day before: nothing was left yet"
    of.post(entries(*(entry(clock) for _ in range(7))))
    clock.pass_(days=1)
    assert answers(of, 14).count("allow") == 13
    clock.pass_(days=1)
    assert answers(of, 16).count("allow") == 15


def test_what_rolls_over_is_known_after_a_restart(tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 11, 1, tzinfo=UTC))
    of = limits(tmp_path, clock)
    limit = add(of, amount=10, window="day", rollover="1", thresholds=[])
    clock.pass_(days=1)
    row = entry(clock)
    clock.pass_(days=1)
    with history(tmp_path, row, entry(clock)) as connection:
        of.rebuild(connection)
    assert [a.demand.cap for a in of.standing(limit, [()])] == [19]
    assert stands(of, limit) == [((), 1, 0)]


def test_a_call_checked_just_before_a_windows_end_is_held_in_both(tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 11, 1, 23, 59, 57, tzinfo=UTC))
    of = limits(tmp_path, clock)
    limit = add(of, amount=10, window="day")
    hold = of.check(Check()).hold_id or ""
    clock.pass_(seconds=4)
    assert stands(of, limit) == [((), 0, 1)]
    of.settle(hold, input_tokens=1, output_tokens=1)
    assert stands(of, limit) == []
    of.post(entries(entry(clock, hold_id=hold)))
    assert stands(of, limit) == [((), 1, 0)]


def test_tiers_and_limits_of_the_configuration_stand_together_and_change_there_only(tmp_path: Path) -> None:
    clock = Clock()
    free = {"name": "free", "is_default": True}
    pro = {"name": "pro", "members": ["gold*"]}
    calls = {"measure": "requests", "window": "day", "thresholds": []}
    of = limits(tmp_path, clock)
    of.configure(
        [{**calls, "name": "f", "tier": "free", "amount": 1}, {**calls, "name": "p", "tier": "pro", "amount": 2}], [free, pro]
    )
    assert [ask(of, tenant="small") for _ in range(2)] == ["allow", "refuse"]
    assert [ask(of, tenant="gold-1") for _ in range(3)] == ["allow", "allow", "refuse"]
    [one, two] = of.admin.tiers()
    assert {one.source, two.source} == {"config"}
    for change in (
        lambda: of.admin.put_tier({"members": []}, tier_id=two.id, who="ann"),
        lambda: of.admin.delete_tier(two.id, who="ann"),
        lambda: of.admin.move(["acme"], two.id, who="ann"),
    ):
        with pytest.raises(LimitError, match="stands in the configuration file"):
            change()
    gold = of.admin.put_tier({"name": "gold", "members": ["acme"]}, who="ann")
    assert of.admin.move(["acme"], one.id, who="ann") == one
    assert [tier.members for tier in of.admin.tiers() if tier.id == gold.id] == [()]
    of.admin.delete_tier(gold.id, who="ann")
    again = limits(tmp_path, clock)
    again.configure([{**calls, "name": "f", "tier": "free", "amount": 1}], [{**free, "description": "for all"}])
    assert [(tier.id, tier.description) for tier in again.admin.tiers()] == [(one.id, "for all")]
    assert [ask(again, tenant="gold-1") for _ in range(2)] == ["allow", "refuse"]


def test_collectors_that_start_together_make_the_configured_limits_once(tmp_path: Path) -> None:
    one, two = (limits(tmp_path, Clock()) for _ in range(2))
    given = [{"name": "calls", "measure": "requests", "window": "day", "amount": 1, "tier": "free"}], [{"name": "free"}]
    for of in (one, two):
        of.configure(*given)
    assert (one.all(), one.admin.tiers()) == (two.all(), two.admin.tiers())
    assert len(control(tmp_path).rows(TABLES["audit"])) == 2


@pytest.mark.parametrize(
    ("wrong_limits", "wrong_tiers", "field"),
    [
        ([], [{}], "tiers[0].name"),
        ([], [{"name": "a"}, {"name": "a"}], "tiers[1].name"),
        ([], [{"name": "a", "members": ["x"]}, {"name": "b", "members": ["x"]}], "tiers[1].members"),
        ([], [{"name": "a", "is_default": True}, {"name": "b", "is_default": True}], "tiers[1].is_default"),
        ([], [{"name": "a", "dimension": "planet"}], "tiers[0].dimension"),
        ([], [{"name": "a", "colour": "red"}], "tiers[0].colour"),
        ([{"name": "l", "measure": "requests", "amount": 1, "window": "day", "tier": "b"}], [{"name": "a"}], "limits[0].tier"),
    ],
)
def test_a_configuration_of_tiers_that_cannot_be_is_refused_with_its_place(
    tmp_path: Path, wrong_limits: list[Any], wrong_tiers: list[Any], field: str
) -> None:
    of = limits(tmp_path, Clock())
    with pytest.raises(LimitError) as caught:
        of.configure(wrong_limits, wrong_tiers)
    assert caught.value.field == field
    assert of.admin.tiers() == []


def test_whatever_bends_a_limit_is_audited_with_who_and_why(tmp_path: Path) -> None:
    of = limits(tmp_path, Clock())
    told: dict[str, Any] = {"who": "ann", "why": "because"}
    tier = of.admin.put_tier({"name": "pro"}, **told)
    limit = of.create({"name": "l", "measure": "requests", "amount": 1, "window": "day", "tier": "pro"}, **told)
    of.update(limit.id, {"amount": 2}, **told)
    grant = of.admin.grant(limit, "top_up", 1, reason="because", who="ann")
    of.admin.revoke_grant(grant.id, who="ann", reason="because")
    of.admin.reset(limit, {"tenant": "t"}, reason="because", who="ann")
    pause = of.admin.pause({"user": "u"}, reason="because", who="ann")
    of.admin.resume(pause.id, who="ann", reason="because")
    of.delete(limit.id, **told)
    of.admin.delete_tier(tier.id, **told)
    found = [(row["table_name"], row["action"]) for row in of._control.rows(TABLES["audit"]) if row["who"] == "ann"]
    assert sorted(found) == [
        ("grants", "delete"), ("grants", "insert"), ("limits", "delete"), ("limits", "insert"), ("limits", "update"),
        ("pauses", "delete"), ("pauses", "insert"), ("resets", "delete"), ("resets", "insert"), ("tiers", "delete"),
        ("tiers", "insert"),
    ]  # fmt: skip
    assert {row["why"] for row in of._control.rows(TABLES["audit"]) if row["who"] == "ann"} == {"because"}
