"""/api/prices over a running collector, and `spanledger prices` with and without one."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from spanledger.cli.prices import app
from spanledger.ledger.frame import conform
from tests.api.running import Running, running
from tests.serving import answering

BOOKS = Path(__file__).parent / "books"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = [{"name": "all", "measure": "cost_usd", "amount": "1000", "window": "lifetime"}]
    with running(tmp_path_factory.mktemp("prices"), limits) as found:
        rows = [
            {
                "entry_id": f"{number:032x}", "kind": "call", "recorded_at": NOW, "calls": 1, "outcome": "ok", "tenant": tenant,
                "provider": provider, "model": model, "occurred_at": NOW - DAY, "input_tokens": 1_000_000, "output_tokens": 0,
            }
            for number, (provider, model, tenant) in enumerate(
                [("openai", "gpt-4o", "acme"), ("openai", "gpt-4o", "other"), ("vllm", "house-llm", "acme")]
            )
        ]  # fmt: skip
        frame = pl.DataFrame(rows).with_columns(day=pl.col("occurred_at").dt.date())
        priced = found.collector.prices.price(frame)
        with found.collector.limits.in_step():
            found.collector.ledger.post(conform(priced), None)
            found.collector.limits.post(priced)
        found.collector.announce({"api": found.url})
        yield found


def ask(up: Running, method: str, path: str, status: int = 200, **sent: Any) -> dict[str, Any]:
    answer = up.client.request(method, f"/api/prices{path}", **sent)
    assert answer.status_code == status, answer.text
    return answer.json()  # type: ignore[no-any-return]


def used(up: Running) -> Decimal:
    """What the limit over everything has counted."""
    return Decimal(up.get("/api/limits")["limits"][0]["used"])


def test_a_price_for_what_had_none_offers_to_re_rate_and_the_counters_follow(up: Running) -> None:
    waiting = ask(up, "GET", "/unpriced")["unpriced"]
    assert [(one["provider"], one["model"], one["calls"], one["input_tokens"]) for one in waiting] == [
        ("vllm", "house-llm", 1, 1_000_000)
    ]
    before = used(up)
    form = {"provider": "vllm", "model": "house-llm", "rates": {"input_mtok": "0.25"}, "note": "ticket 12"}
    made = ask(up, "POST", "", 201, json=form)
    assert (made["state"], made["unpriced"]["calls"]) == ("in force", 1)
    assert ask(up, "GET", f"/{made['id']}")["rates"] == {"input_mtok": "0.25"}

    asked = {"unpriced_only": True}
    preview = ask(up, "POST", "/rerate", json=asked)
    assert (preview["posted"], preview["changed"], preview["difference_usd"]) == (False, 1, "0.250000000000")
    assert used(up) == before
    assert ask(up, "POST", "/rerate", 422, json={**asked, "post": True})["errors"][0]["field"] == "note"
    until_now = datetime.now(UTC).isoformat()
    posted = ask(up, "POST", "/rerate", json={**asked, "post": True, "note": "price set"})
    assert posted["posted"] is True
    assert used(up) == before + Decimal("0.25")
    assert ask(up, "POST", "/rerate", json={**asked, "post": True, "note": "again"})["changed"] == 0
    assert ask(up, "GET", "/unpriced")["unpriced"] == []
    then = (NOW - timedelta(minutes=1)).isoformat()
    for moment, cost in ((then, Decimal(0)), (until_now, Decimal(5)), (None, Decimal("5.25"))):
        params = {"since": (NOW - 2 * DAY).isoformat(), "group_by": "model"} | ({"as_known_on": moment} if moment else {})
        assert Decimal(up.client.get("/api/summary", params=params).json()["totals"]["cost_usd"]) == cost
    assert up.client.get("/api/summary", params={"as_known_on": "2026-11-20T00:00:00"}).status_code == 422
    assert ask(up, "GET", "/known", params={"as_known_on": then})["cost_usd"] == "0"


def test_a_contract_is_listed_changed_and_keeps_its_history(up: Running) -> None:
    form = {"provider": "openai", "model": "gpt-4o", "scope": "tenant:acme", "multiplier": "0.88", "note": "frame contract"}
    made = ask(up, "POST", "", 201, json=form)
    assert made["id"] in [rule["id"] for rule in ask(up, "GET", "")["rules"]]
    clash = ask(up, "POST", "", 409, json=form)
    assert made["id"] in clash["detail"]
    assert "the new rule (contract, openai/gpt-4o for tenant acme) overlaps rule" in clash["detail"]
    both = [{"scope": "key:9", "multiplier": "0.5", "provider": "x"}] * 2
    assert (
        "rules[1] (contract, x/* for key 9) overlaps rules[0]"
        in ask(up, "POST", "", 409, json={"rules": both, "note": "both"})["detail"]
    )
    changed = ask(up, "PATCH", f"/{made['id']}", json={"multiplier": "0.85", "note": "typing error"})
    assert (changed["supersedes"], changed["multiplier"]) == (made["id"], "0.85")
    assert ask(up, "PATCH", f"/{made['id']}", 409, json={"multiplier": "0.5", "note": "n"})["type"].endswith("rules-overlap")
    history = ask(up, "GET", f"/{changed['id']}/history")["history"]
    assert [(one["multiplier"], one["state"]) for one in history] == [("0.85", "in force"), ("0.88", "superseded")]
    assert history[0]["audit"][0]["why"] == "typing error"
    next_year = f"{datetime.now(UTC).year + 1}-01-01"
    later = ask(up, "POST", "", 201, json={**form, "multiplier": "0.8", "valid_from": next_year, "supersede": changed["id"]})
    assert later["state"] == "scheduled"
    cells = ask(up, "GET", "/show", params={"provider": "openai", "model": "gpt-4o", "scope": "tenant:acme"})["rates"]
    assert [cell["rates"]["input_mtok"] for cell in cells] == ["2.125", "2"]
    assert cells[1]["valid_from"].startswith(next_year)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rates": {"input_mtok": "-1"}}, "rates.input_mtok"),
        ({"rates": {"input_furlongs": "1"}}, "rates.input_furlongs"),
        ({"multiplier": "1", "note": "\0"}, "note"),
        ({"multiplier": "1", "valid_from": "2026-12-01", "valid_to": "2026-11-01"}, "valid_to"),
        ({"rules": [{"multiplier": "0.5", "scope": "key:1"}, {"multiplier": "x"}]}, "rules[1].multiplier"),
        ({"rules": [{"multiplier": "0.5", "scope": f"key:{n}"} for n in range(10_000)]}, "rules"),
        ({"rules": "all"}, "rules"),
        ({"monthly_usd": "-5", "valid_from": "2026-12-01"}, "monthly_usd"),
        ({"monthly_usd": "5"}, "valid_from"),
        ({"monthly_usd": "5", "valid_from": "2026-12-01", "tier": "flex"}, "tier"),
    ],
)
def test_bad_rules_change_nothing_and_name_the_field(up: Running, body: dict[str, Any], field: str) -> None:
    before = ask(up, "GET", "")
    assert ask(up, "POST", "", 422, json={"note": "why", **body})["errors"][0]["field"] == field
    assert ask(up, "GET", "") == before


def test_what_is_not_there_is_404(up: Running) -> None:
    for path in ("/nothing", "/nothing/history"):
        assert ask(up, "GET", path, 404)["type"].endswith("no-rule")
    assert "nothing" in ask(up, "PATCH", "/nothing", 404, json={"multiplier": "1", "note": "n"})["detail"]


def test_books_are_compared_and_loaded(up: Running) -> None:
    content = (BOOKS / "litellm.json").read_bytes()
    assert ask(up, "POST", "/books/diff", content=content)["large"] == 0
    assert ask(up, "POST", "/books/diff", 422, content=b"{}")["type"].endswith("not-a-book")
    loaded = ask(up, "POST", "/books", 201, content=content, params={"version": "1.109.1", "note": "tried"})
    assert "litellm" in loaded["revision"]
    content = content.replace(b"2.5e-06", b"2.5e-03")
    refused = ask(up, "POST", "/books", 409, content=content, params={"note": "tried"})
    assert refused["large"] > 0
    assert refused["moved"][0]["large"] is True
    assert "litellm" in ask(up, "POST", "/books", 201, content=content, params={"accept": "true", "note": "tried"})["revision"]
    assert "litellm" not in ask(up, "DELETE", "/books/litellm", params={"note": "done"})["revision"]


def test_questions_are_answered(up: Running) -> None:
    asked = {"provider": "openai", "model": "gpt-4o", "input_tokens": 1000, "output_tokens": 100}
    assert ask(up, "POST", "/cost", json=asked)["cost_usd"] == "0.003500000000"
    assert ask(up, "POST", "/cost", 422, json={**asked, "bananas": 1})["errors"][0]["field"] == "bananas"
    assert ask(up, "POST", "/cost", 422, json={**asked, "input_tokens": -1})["errors"][0]["field"] == "input_tokens"
    assert ask(up, "POST", "/tokens", json={"text": "hello world", "model": "gpt-4o"})["tokens"] in range(1, 6)
    models = ["openai/gpt-4o", "openai/gpt-4o-mini"]
    found = ask(up, "POST", "/compare", json={"input_tokens": 1000, "models": models})["models"]
    assert [one["model"] for one in found] == ["gpt-4o-mini", "gpt-4o"]
    own = ask(up, "POST", "/instead", json={"models": ["openai/gpt-4o-mini"], "tenant": "other"})["models"][0]
    assert (own["calls"], own["was_usd"], own["would_be_usd"]) == (1, "0.000000000000", "0.000000000000") or own[
        "does_not_fit"
    ] == 1
    assert ask(up, "GET", "/reported")["reported"] == []


def test_the_command_line_asks_the_running_collector(up: Running) -> None:
    data = str(up.collector.data)
    run = CliRunner().invoke(app, ["show", "openai/gpt-4o", "--data", data, "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.output)["priced_as"] == "openai/gpt-4o"


def test_the_command_line_works_while_no_collector_runs(tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*words, "--data", str(tmp_path)])
        assert done.exit_code == code, done.output
        return done.output

    run("set", "-p", "openai", "-m", "gpt-4o", "--multiplier", "0.88", "--scope", "tenant:acme", "-n", "contract")
    listed = json.loads(run("list", "--json"))
    rule = listed["rules"][0]
    assert (rule["multiplier"], rule["scope"], rule["note"]) == ("0.88", "tenant:acme", "contract")
    assert "overlaps" in run(
        "set", "-p", "openai", "-m", "gpt-4o", "--multiplier", "0.8", "--scope", "tenant:acme", "-n", "x", code=1
    )
    assert "did you mean input_mtok" in run("set", "-p", "x", "-m", "y", "--rate", "input_mtk=1", "-n", "x", code=2)
    run("schedule", rule["id"], "--from", "2099-01-01", "--multiplier", "0.8", "-n", "next")
    states = [one["state"] for one in json.loads(run("list", "--json"))["rules"]]
    assert sorted(states) == ["in force", "scheduled"]
    assert "0.88" in run("history", rule["id"])

    exported = tmp_path / "rules.json"
    exported.write_text(run("export"))
    other = tmp_path / "other"
    done = CliRunner().invoke(app, ["import", str(exported), "--data", str(other)])
    assert "2 rules are in force now" in done.output
    assert "models more" in run("import", str(BOOKS / "litellm.json"))
    assert "gpt-4o" in run("compare", "-m", "openai/gpt-4o")
    assert "nothing to post" in run("rerate")
    assert "every call has its price" in run("unpriced")
    assert "0 entries" in run("monthly")


def test_the_newest_data_is_fetched_when_asked_for_and_never_else(tmp_path: Path) -> None:
    model = {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": {"input_mtok": 2.4, "output_mtok": 10}}
    provider = {"id": "openai", "name": "OpenAI", "api_pattern": "https://api.openai.com", "models": [model]}
    content = json.dumps([provider]).encode()
    with answering(content, path="/data.json") as url:
        update = ["update", "--url", f"{url}/data.json", "--data", str(tmp_path)]
        assert "say so with --accept" in CliRunner().invoke(app, update).output
        done = CliRunner().invoke(app, [*update, "--accept"])
        assert done.exit_code == 0, done.output
        assert "fewer" in done.output
        failed = CliRunner().invoke(app, ["update", "--url", f"{url}/nothing", "--data", str(tmp_path)])
    assert failed.exit_code == 1
    assert "cannot be fetched" in failed.output
    shown = CliRunner().invoke(app, ["show", "openai/gpt-4o", "--data", str(tmp_path), "--json"])
    assert json.loads(shown.output)["rates"][0]["rates"]["input_mtok"] == "2.4"
