"""Changes of prices: each says why, an import that brings nothing changes nothing, and what is offered is what comes of it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from spanledger.cli.prices import app
from spanledger.ledger.frame import conform
from tests.api.running import Running, running

BOOKS = Path(__file__).parent / "books"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
#: What has no price, all of it or a part, under several names, tiers, tenants, days and words of the sender.
CALLS: list[dict[str, Any]] = [
    {"model": "house-llm", "tenant": "acme"},
    {"model": "house-llm", "tenant": "other"},
    {"model": "house-llm", "tenant": "acme", "service_tier": "flex"},
    {"model": "house-llm", "tenant": "acme", "occurred_at": NOW - 20 * DAY},
    {"model": "house-llm", "tenant": "acme", "input_tokens": None, "output_tokens": None},
    {"model": "house-llm", "tenant": "acme", "outcome": "error", "input_tokens": None, "output_tokens": None},
    {"model": "claimed-llm", "tenant": "acme", "reported_cost_usd": Decimal("0.5")},
    {"provider": "azure", "model": "house-llm", "tenant": "acme"},
    {"provider": "openai", "model": "gpt-4o", "tenant": "acme", "code_executions": 2.0},
    {"provider": "openai", "model": "gpt-4o", "tenant": "acme"},
]
RATES = {"input_mtok": "1", "output_mtok": "2"}
OFFERS = [
    ({"provider": "vllm", "model": "house-llm", "rates": RATES}, 3),
    ({"provider": "vllm", "model": "house-llm", "rates": {"input_mtok": "1"}}, 3),
    ({"provider": "vllm", "model": "house-llm", "rates": RATES, "scope": "tenant:acme"}, 2),
    ({"provider": "vllm", "model": "house-llm", "rates": RATES, "scope": "project:nobody"}, None),
    ({"provider": "vllm", "model": "house-llm", "rates": RATES, "tier": "flex"}, 1),
    ({"provider": "vllm", "model": "house-llm", "rates": RATES, "tier": "*"}, 4),
    ({"provider": "vllm", "model": "house-llm", "rates": RATES, "valid_from": (NOW - 10 * DAY).isoformat()}, 2),
    ({"provider": "vllm", "model": "house-llm", "rates": RATES, "valid_to": (NOW - 10 * DAY).isoformat()}, 1),
    ({"provider": "vllm", "model": "house-llm", "rates": RATES, "valid_from": (NOW + DAY).isoformat()}, None),
    ({"provider": "vllm", "model": "claimed-llm", "rates": RATES}, 1),
    ({"provider": "vllm", "rates": RATES}, 4),
    ({"provider": "anthropic", "model": "house-llm", "rates": RATES}, None),
    ({"provider": "azure.ai.openai", "model": "house-llm", "same_as": "openai/gpt-4o"}, 1),
    ({"provider": "openai", "model": "gpt-4o", "rates": {"code_executions_kcount": "0"}}, 1),
    ({"provider": "openai", "model": "gpt-4o", "multiplier": "0.5"}, None),
    ({"layer": "default", "rates": RATES}, 4),
    ({"monthly_usd": "10", "valid_from": "2026-11-01"}, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("changes")) as found:
        rows = []
        for number, call in enumerate(CALLS):
            executions = call.get("code_executions")
            rows.append(
                {
                    "entry_id": f"{number:032x}", "kind": "call", "recorded_at": NOW, "calls": 1, "outcome": "ok",
                    "provider": "vllm",
                    "occurred_at": NOW - DAY, "input_tokens": 1000, "output_tokens": 100, "service_tier": None,
                    "reported_cost_usd": None,
                    **{name: value for name, value in call.items() if name != "code_executions"},
                    "other_meters": [{"key": "code_executions", "value": executions}] if executions else [],
                }
            )  # fmt: skip
        meters = pl.List(pl.Struct({"key": pl.String, "value": pl.Float64}))
        frame = pl.DataFrame(rows, schema_overrides={"other_meters": meters, "reported_cost_usd": pl.Decimal(20, 12)})
        frame = frame.with_columns(day=pl.col("occurred_at").dt.date())
        found.collector.ledger.post(conform(found.collector.prices.price(frame)), None)
        found.collector.announce({"api": found.url})
        yield found


def ask(up: Running, method: str, path: str, status: int = 200, **sent: Any) -> dict[str, Any]:
    answer = up.client.request(method, f"/api/prices{path}", **sent)
    assert answer.status_code == status, answer.text
    return answer.json()  # type: ignore[no-any-return]


def field_of(up: Running, method: str, path: str, **sent: Any) -> str:
    """The field that a refusal names; nothing has changed."""
    before = ask(up, "GET", "")
    found: str = ask(up, method, path, 422, **sent)["errors"][0]["field"]
    assert ask(up, "GET", "") == before
    return found


def run(up: Running, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--data", str(up.collector.data)])
    assert done.exit_code == code, done.output
    return done.output


def audited(up: Running, table: str = "price_rules") -> list[tuple[str, str, str]]:
    """Row, action and why, the newest first; every one has an author."""
    found = up.get("/api/audit", table=table, count=200)["audit"]
    assert all(row["who"] == "local" for row in found if row["why"] != "installed")
    return [(row["row_id"], row["action"], row["why"]) for row in found]


PAST = (datetime(2000, 1, 1, tzinfo=UTC) + DAY * number for number in count())


def gone(up: Running, rule: dict[str, Any]) -> None:
    """Out of the way of the next test: ended before there was any call."""
    day = next(PAST)
    begun = {"valid_from": day.isoformat(), "valid_to": (day + DAY).isoformat(), "note": "tried"}
    ask(up, "PATCH", f"/{rule['id']}", json=begun)


@pytest.mark.parametrize(("form", "calls"), OFFERS)
def test_what_is_offered_is_what_re_rating_with_the_offered_arguments_changes(
    up: Running, form: dict[str, Any], calls: int | None
) -> None:
    made = ask(up, "POST", "", 201, json={"valid_from": "2020-01-01", **form, "note": "new"})
    offered = made["unpriced"]
    try:
        if calls is None:
            assert offered is None
            return
        preview = ask(up, "POST", "/rerate", json=offered["rerate"])
        assert (offered["calls"], preview["changed"]) == (calls, calls)
        shown = json.loads(run(up, "rerate", *(word for word in _words(offered["rerate"])), "--json"))
        assert (shown["changed"], shown["lines"]) == (calls, preview["lines"])
    finally:
        gone(up, made)


def _words(asked: dict[str, Any]) -> list[str]:
    from shlex import split

    from spanledger.cli.price_tables import rerate_words

    return split(rerate_words(asked))


def test_every_change_leaves_who_and_its_own_why_in_the_audit(up: Running) -> None:
    form = {"provider": "openai", "model": "o3", "multiplier": "0.9"}
    made = ask(up, "POST", "", 201, json={**form, "note": "frame contract"})
    changed = ask(up, "PATCH", f"/{made['id']}", json={"multiplier": "0.8", "note": "typing error"})
    assert changed["note"] == "typing error"
    run(up, "schedule", changed["id"], "--from", "2099-01-01", "--multiplier", "0.7", "-n", "from 2099 on")
    one, two = {"provider": "a", "multiplier": "1"}, {"provider": "b", "multiplier": "1", "note": "of b"}
    several = ask(up, "POST", "", 201, json={"rules": [one, two], "note": "of all"})["rules"]
    run(up, "end", several[1]["id"], "-n", "over")
    whys = [why for _, _, why in audited(up)]
    # A rule in place of another is two rows, and one from a day on leaves a third for the time before it.
    expected = {"frame contract": 1, "typing error": 2, "from 2099 on": 3, "of all": 1, "of b": 1, "over": 2}
    assert {why: whys.count(why) for why in expected} == expected


@pytest.mark.parametrize("note", [{}, {"note": ""}, {"note": "  "}, {"note": 5}])
def test_a_change_that_does_not_say_why_is_refused(up: Running, note: dict[str, Any]) -> None:
    made = ask(up, "POST", "", 201, json={"provider": "x", "model": str(note), "multiplier": "1", "note": "made"})
    body = {"multiplier": "0.7", **note}
    assert field_of(up, "POST", "", json=body) == "note"
    assert field_of(up, "PATCH", f"/{made['id']}", json=body) == "note"
    assert field_of(up, "POST", "", json={"rules": [{"multiplier": "1", "note": "y"}, body]}) == "rules[1].note"
    if "note" not in note:
        assert field_of(up, "POST", "/books", content=(BOOKS / "litellm.json").read_bytes()) == "note"
        assert field_of(up, "POST", "/rerate", json={"post": True}) == "note"
        for words in (["set", "--multiplier", "1"], ["schedule", made["id"], "--from", "2099-01-01"], ["end", made["id"]]):
            assert "--note" in run(up, *words, code=2)
        assert "note: " in run(up, "rerate", "--post", code=2)


@pytest.mark.parametrize("same", [{}, {"multiplier": "0.900"}, {"multiplier": 0.9, "provider": "noted"}])
def test_a_change_of_nothing_is_a_line_in_the_history_and_no_new_rule(up: Running, same: dict[str, Any]) -> None:
    made = ask(up, "POST", "", 201, json={"provider": "noted", "model": str(same), "multiplier": "0.9", "note": "list"})
    revision = ask(up, "GET", "")["revision"]
    answer = ask(up, "PATCH", f"/{made['id']}", json={**same, "note": "signed by finance"})
    assert answer == {name: said for name, said in made.items() if name not in ("unpriced", "notice")}
    assert ask(up, "GET", "")["revision"] == revision
    [one] = ask(up, "GET", f"/{made['id']}/history")["history"]
    assert [(line["action"], line["why"]) for line in one["audit"]] == [
        ("insert", "list"),
        ("note", "signed by finance"),
    ]
    assert "signed by finance" in run(up, "history", made["id"])
    assert ask(up, "PATCH", f"/{made['id']}", json={"multiplier": "0.8", "note": "less"})["supersedes"] == made["id"]
    assert ask(up, "PATCH", f"/{made['id']}", 409, json={"note": "too late"})["detail"]


def test_an_import_of_what_is_there_changes_nothing_and_says_so(up: Running, tmp_path: Path) -> None:
    form = {"provider": "a*", "model": "x*", "rates": {"input_mtok": "2.50"}, "valid_from": "2026-12-01", "hours": "08:00-12:00"}
    ask(up, "POST", "", 201, json={**form, "note": "round trip"})
    ask(up, "POST", "", 201, json={"provider": "a*", "multiplier": "0.880", "tier": "batches", "note": "tier"})
    ask(up, "POST", "", 201, json={"provider": "a*", "rates": {"input_mtok": "1"}, "tier": "*", "note": "any tier"})
    exported = tmp_path / "rules.json"
    exported.write_text(run(up, "export"))
    before, audit = ask(up, "GET", ""), audited(up)
    assert "nothing has changed" in run(up, "import", str(exported))
    assert (ask(up, "GET", ""), audited(up)) == (before, audit)
    rules = json.loads(exported.read_text())["spanledger_price_rules"]
    rules.append({"provider": "new", "multiplier": "1"})
    exported.write_text(json.dumps({"spanledger_price_rules": rules}))
    said = run(up, "import", str(exported))
    assert f"1 rules are in force now, {len(rules) - 1} were already" in said
    assert audited(up)[0][1:] == ("insert", "imported from rules.json")


def test_an_export_of_more_rules_than_go_at_once_comes_back_in_parts(tmp_path: Path) -> None:
    rules = [
        {"scope": f"tenant:t{number}", "model": "gpt-4o", "multiplier": "0.9", "valid_to": "2001-01-01", "note": "many"}
        for number in range(1_005)
    ]
    file = tmp_path / "all.json"
    file.write_text(json.dumps({"spanledger_price_rules": rules}))
    # A collector of its own: so many rules would stand in the others' way.
    with running(tmp_path / "data") as up:
        up.collector.announce({"api": up.url})
        before = ask(up, "GET", "")
        assert "--in-parts" in run(up, "import", str(file), code=2)
        assert ask(up, "GET", "") == before
        assert "1001 to 1005 of 1005" in run(up, "import", str(file), "--in-parts")
        exported = run(up, "export")
        assert len(json.loads(exported)["spanledger_price_rules"]) >= 1_005
        file.write_text(exported)
        assert '"rules": [],\n' in run(up, "import", str(file), "--in-parts", "--json")


@pytest.mark.parametrize("rules", ["5", "{}", "null", '"all"'])
def test_a_file_of_rules_that_are_none_is_refused_by_its_field(up: Running, tmp_path: Path, rules: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(f'{{"spanledger_price_rules": {rules}}}')
    assert "spanledger_price_rules: should be a list" in run(up, "import", str(file), code=2)


def test_a_rule_does_not_change_on_a_day_without_a_change(up: Running) -> None:
    rule = ask(up, "POST", "", 201, json={"provider": "openai", "model": "day", "rates": RATES, "note": "n"})
    assert "nothing changes on that day" in run(up, "schedule", rule["id"], "--from", "2099-01-01", "-n", "x", code=2)


def test_a_multiplier_of_what_nobody_has_a_price_for_says_so(tmp_path: Path) -> None:
    words = ["set", "-p", "openai", "-m", "gtp-4o", "--multiplier", "0.9", "-n", "typing error", "--data", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "of openai/gtp-4o: there is nothing to multiply" in done.stderr


@pytest.mark.parametrize("option", ["--provider", "--model", "--scope", "--from", "--tier"])
def test_an_empty_word_is_no_rule_for_everything(up: Running, option: str) -> None:
    before = ask(up, "GET", "")
    said = run(up, "set", option, "", "--rate", "input_mtok=1", "--note", "an unset variable", code=2)
    assert option in said
    assert "is empty" in said
    assert "twice" in run(up, "set", "-m", "x", "--rate", "input_mtok=1", "--rate", "input_mtok=2", "-n", "both", code=2)
    assert "--cached" in run(up, "compare", "--input", "10", "--cached", "20", code=2)
    assert ask(up, "GET", "") == before


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"rates": []}, "rates"),
        ({"multiplier": "1e-5000"}, "multiplier"),
        ({"multiplier": "1", "valid_from": "9999-12-31T23:59:59-12:00"}, "valid_from"),
        ({"provider": "mine", "model": "gpt-5-eu", "same_as": "openai/nonesuch"}, "same_as"),
        ({"provider": "mine", "model": "gpt-5-eu", "same_as": "mine/gpt-5-eu"}, "same_as"),
    ],
)
def test_what_a_rule_cannot_be_is_refused_by_its_field(up: Running, form: dict[str, Any], field: str) -> None:
    assert field_of(up, "POST", "", json={**form, "note": "new"}) == field
    assert field_of(up, "POST", "", json={"rules": [{"multiplier": "1"}, form], "note": "new"}) == f"rules[1].{field}"


def test_who_changes_a_rule_that_was_superseded_is_told_which_stands_now(up: Running) -> None:
    first = ask(up, "POST", "", 201, json={"model": "gpt-4o", "scope": "tenant:told", "multiplier": "0.9", "note": "new"})
    then = {"model": "gpt-4o", "scope": "tenant:told", "multiplier": "0.8", "valid_from": "2027-01-01"}
    second = ask(up, "POST", "", 201, json={**then, "supersede": first["id"], "note": "from then on"})
    refusal = ask(up, "PATCH", f"/{first['id']}", 409, json={"multiplier": "0.7", "note": "late"})
    standing = {rule["id"] for rule in ask(up, "GET", "", params={"scope": "tenant:told"})["rules"]}
    assert len(standing) == 2
    assert second["id"] in standing
    assert all(one in refusal["detail"] for one in standing)


def test_a_tier_that_nobody_has_is_refused_by_the_names_of_those_there_are(up: Running) -> None:
    body = {"multiplier": "0.5", "tier": "banana", "provider": "t", "note": "n"}
    assert "flex, priority" in ask(up, "POST", "", 422, json=body)["errors"][0]["message"]
    assert field_of(up, "POST", "", json=body) == "tier"
    for path in ("/cost", "/compare"):
        assert field_of(up, "POST", path, json={"service_tier": "banana"}) == "service_tier"
    assert (
        field_of(up, "GET", "/show", params={"provider": "openai", "model": "gpt-4o", "service_tier": "banana"}) == "service_tier"
    )
    assert "is none of standard, batch" in run(up, "compare", "--tier", "banana", code=2)
    assert "or * for any" in run(up, "set", "--multiplier", "1", "--tier", "banana", "-n", "x", code=2)
    assert ask(up, "POST", "", 201, json={**body, "tier": "on_demand"})["tier"] == "standard"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", None])
def test_a_body_says_what_is_wrong_with_it_whatever_it_calls_itself(up: Running, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    wrong = b'{"rates": {"input_mtok": "-1"}, "note": "x"}'
    assert field_of(up, "POST", "", content=wrong, headers=headers) == "rates.input_mtok"
    assert field_of(up, "POST", "/cost", content=b'{"input_tokens": -1}', headers=headers) == "input_tokens"
    assert ask(up, "POST", "/cost", 400, content=b"a=b", headers=headers)["type"].endswith("invalid-json")
    assert up.client.post("/api/limits", content=b'{"measure": "bananas"}', headers=headers).json()["errors"]


@pytest.mark.parametrize(
    ("path", "name"), [("", "rules"), ("/unpriced", "unpriced"), ("/reported", "reported"), ("/known", "models")]
)
def test_every_list_comes_in_pages(up: Running, path: str, name: str) -> None:
    for number in range(3 if path == "" else 0):
        ask(up, "POST", "", 201, json={"provider": "page", "model": f"rules-{number}", "multiplier": "1", "note": "n"})
    asked = {"as_known_on": (NOW + DAY).isoformat()} if path == "/known" else {}
    asked |= {"share": "0", "least_usd": "0"} if path == "/reported" else {}
    asked |= {"provider": "page"} if path == "" else {}
    whole = ask(up, "GET", path, params={**asked, "count": 1000})
    assert whole["next"] is None
    pages, after = [], None
    while True:
        page = ask(up, "GET", path, params={**asked, "count": 1, **({"after": after} if after else {})})
        pages += page[name]
        after = page["next"]
        if after is None:
            break
        assert len(page[name]) == 1
    assert pages == whole[name]
    assert field_of(up, "GET", path, params={**asked, "after": "gone"}) == "after"
    assert field_of(up, "GET", path, params={**asked, "count": 0}) == "count"


def test_a_history_comes_in_pages_and_a_command_has_all_of_it(up: Running) -> None:
    rule = ask(up, "POST", "", 201, json={"provider": "history", "multiplier": "1", "note": "n0"})
    for number in range(1, 4):
        rule = ask(up, "PATCH", f"/{rule['id']}", json={"multiplier": f"0.{number}", "note": f"n{number}"})
    first = ask(up, "GET", f"/{rule['id']}/history", params={"count": 3})
    rest = ask(up, "GET", f"/{rule['id']}/history", params={"after": first["next"]})
    assert [one["note"] for one in (*first["history"], *rest["history"])] == ["n3", "n2", "n1", "n0"]
    assert all(f"n{number}" in run(up, "history", rule["id"]) for number in range(4))


def test_calls_that_only_a_contract_prices_are_compared_at_what_they_cost(up: Running) -> None:
    form = {"provider": "azure", "model": "house-llm", "rates": RATES, "valid_from": "2020-01-01"}
    rule = ask(up, "POST", "", 201, json={**form, "note": "own"})
    ask(up, "POST", "/rerate", json={"provider": "azure", "post": True, "note": "own"})
    own = ask(up, "POST", "/instead", json={"models": ["openai/gpt-4o"], "provider": "azure"})["models"][0]
    assert (own["calls"], own["unpriced"], own["was_usd"]) == (1, 0, "0.001200000000")
    gone(up, rule)
    ask(up, "POST", "/rerate", json={"provider": "azure", "post": True, "note": "as it was"})


def test_what_is_not_there_is_said_in_words(up: Running) -> None:
    assert "there is no price rule 'nope'" in run(up, "end", "nope", "-n", "x", code=1)
    assert "there is no price rule 'nope'" in run(up, "history", "nope", code=1)


def test_no_amount_is_ever_written_with_an_exponent(up: Running) -> None:
    instead = {"models": ["openai/gpt-4o-mini", "openai/gpt-4o"]}
    for method, path, sent in (
        ("POST", "/instead", {"json": instead}), ("POST", "/rerate", {"json": {}}), ("GET", "/reported", {}),
        ("POST", "/compare", {"json": {"input_tokens": 1, "models": instead["models"]}}),
        ("POST", "/cost", {"json": {"provider": "openai", "model": "gpt-4o", "input_tokens": 1, "output_tokens": 0}}),
        ("GET", "/known", {"params": {"as_known_on": (NOW + DAY).isoformat()}}),
    ):  # fmt: skip
        assert "E-" not in json.dumps(ask(up, method, path, **sent)), path
    same = ask(up, "POST", "/instead", json={"models": ["openai/gpt-4o"], "provider": "openai"})["models"][0]
    assert same["difference_usd"] == "0.000000000000"
    assert "E-" not in run(up, "compare", "--instead", "-m", "openai/gpt-4o")


def test_a_loaded_book_is_shown_with_its_version_and_its_whole_hash(up: Running) -> None:
    file = BOOKS / "litellm.json"
    run(up, "import", str(file), "--version", "1.109.1")
    [book] = [one for one in ask(up, "GET", "")["books"] if one["name"] == "litellm"]
    assert (book["version"], len(book["id"]), book["note"]) == ("1.109.1", 64, "imported from litellm.json")
    assert f"+ litellm 1.109.1 sha256:{book['id']} " in ask(up, "GET", "")["revision"]
    assert f"book litellm 1.109.1: {book['models']} models" in run(up, "list")
    assert ask(up, "POST", "/books", 422, content=b"{}", params={"note": "n"})["errors"][0]["field"] == "body"
    ask(up, "DELETE", "/books/litellm", params={"note": "no more"})
    assert "no book 'litellm'" in ask(up, "DELETE", "/books/litellm", 404, params={"note": "again"})["detail"]
    assert audited(up, "price_books")[0][2] == "no more"
