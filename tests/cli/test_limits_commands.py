"""`spanledger limits`, `check`, `pause` and `keys`, on a real collector."""

import json
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spanledger.api.problem import Problem
from spanledger.cli.commands import app
from spanledger.ledger.frame import conform
from tests.api.running import Running, running
from tests.limits.made import Clock, entries, entry
from tests.serving import answering


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("data")) as up:
        now = Clock(datetime.now(UTC))
        up.collector.ledger.post(
            conform(entries(*(entry(now, tenant="acme", user="u", cost_usd="0.40") for _ in range(4)))), None
        )
        yield up


@pytest.fixture
def run(collector: Running, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SPANLEDGER_API", collector.url)

    def of(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == code, result.output
        return result

    return of


def test_a_check_that_is_asked_too_often_is_no_refusal(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, body = Problem(429, "more than 2 requests a second", name="too-many-requests").answered()
    with answering(body, status=status) as url:
        monkeypatch.setenv("SPANLEDGER_API", url)
        for also in ([], ["--json"]):
            assert "more than 2 requests a second" in run("check", "tenant=acme", *also, code=1).stderr


def test_a_limit_is_added_seen_changed_tried_and_removed(run: Any) -> None:
    words = ["limits", "add", "acme", "--amount", "2", "--select", "tenant=acme", "--per", "user", "--zone", "Europe/Berlin"]
    assert "acme" in run(*words, "--set", "grace=0.1", "--reason", "new customer").stdout
    assert "$1.60" in run("limits", "list").stdout
    shown = json.loads(run("limits", "show", "acme", "--json").stdout)
    assert (shown["grace"], shown["window"]["zone"], shown["used"]) == ("0.1", "Europe/Berlin", "1.6")
    assert "tenant=acme user=u" in run("limits", "show", "acme").stdout
    assert "$1.60" in run("limits", "usage", "tenant=acme", "user=u").stdout
    assert "2 refused" in run("limits", "backtest", "acme", "--amount", "1").stdout
    assert json.loads(run("limits", "backtest", "acme", "--json").stdout)["refused"] == 0
    assert "changed" in run("limits", "change", "acme", "--amount", "1.00").stdout
    assert "refuse" in run("check", "tenant=acme", "user=u", "model=gpt-4o", "provider=openai", code=3).stdout
    paid = ["--for", "user=u", "--reason", "paid", "--until", "2099-12-31"]
    assert "until 2099-12-31T00:00:00Z" in run("limits", "top-up", "acme", "5", *paid).stdout
    assert "allow" in run("check", "tenant=acme", "user=u", "--max-output-tokens", "10").stdout
    [grant] = json.loads(run("limits", "grants", "acme", "--json").stdout)
    assert "user=u" in run("limits", "grants").stdout
    assert "$6.60" in run("limits", "usage", "tenant=acme", "user=u").stdout
    run("limits", "revoke", grant["id"], "--reason", "not paid")
    assert "there is no grant" in run("limits", "revoke", grant["id"], code=1).stderr
    assert "no grants" in run("limits", "grants").stdout
    assert "forgot 1.6" in run("limits", "reset", "acme", "--for", "user=u", "--reason", "our bug").stdout
    assert "removed acme" in run("limits", "remove", "acme").stdout
    assert "no limits" in run("limits", "list").stdout


def test_a_subject_is_paused_and_resumed(run: Any) -> None:
    made = json.loads(run("pause", "add", "tenant=acme", "agent=crawl*", "--reason", "runaway", "--json").stdout)
    assert "runaway" in run("check", "tenant=acme", "agent=crawler", code=3).stdout
    assert "runaway" in run("pause", "list").stdout
    assert json.loads(run("pause", "resume", made["id"], "--json").stdout) == {"resumed": made["id"]}
    assert "nobody" in run("pause", "list").stdout
    assert "there is no pause" in run("pause", "resume", "nope", code=1).stderr
    assert json.loads(run("check", "tenant=acme", "tag.a=b", "--json").stdout)["verdict"] == "allow"


def test_somebody_moves_from_tier_to_tier(run: Any) -> None:
    assert "nobody" in run("tiers", "add", "pro").stdout
    assert "every other tenant" in run("tiers", "add", "free", "--default", "--member", "acme").stdout
    run("limits", "add", "pro calls", "--measure", "requests", "--amount", "9", "--set", "tier=pro")
    assert "moved acme to pro" in run("tiers", "move", "acme", "--to", "pro", "--reason", "signed").stdout
    assert "4" in run("limits", "usage", "tenant=acme").stdout
    found = {tier["name"]: tier["members"] for tier in json.loads(run("tiers", "list", "--json").stdout)}
    assert found == {"free": [], "pro": ["acme"]}
    assert "acme" in run("tiers", "list").stdout
    assert "no tier 'gold'" in run("tiers", "move", "acme", "--to", "gold", code=2).stderr
    assert "tiers move" in run("tiers", "add", "gold", "--member", "acme", code=2).stderr
    run("limits", "remove", "pro calls")
    assert ["removed" in run("tiers", "remove", name).stdout for name in ("pro", "free")] == [True, True]


def test_usage_is_shown_of_a_value_with_anything_in_it(run: Any) -> None:
    run("limits", "add", "per model", "--amount", "2", "--per", "model")
    assert "model=meta-llama/Llama-3,x" in run("limits", "usage", "model=meta-llama/Llama-3,x").stdout
    run("limits", "remove", "per model")


def test_a_list_of_values_is_not_taken_for_one_value_with_a_comma(run: Any) -> None:
    said = run("limits", "add", "both", "--amount", "5", "--select", "model=gpt-4o,gpt-4*", code=2).stderr
    assert "--select model=gpt-4o --select model=gpt-4*" in said
    assert "tenant=a tenant=b" in run("pause", "add", "tenant=a,b", "--reason", "x", code=2).stderr
    run("limits", "add", "both", "--amount", "5", "--set", 'selectors={"model": ["gpt-4o,gpt-4*"]}')
    assert json.loads(run("limits", "show", "both", "--json").stdout)["selectors"] == {"model": ["gpt-4o,gpt-4*"]}
    run("limits", "remove", "both")


def test_what_is_wrong_is_said_in_one_line(run: Any) -> None:
    assert "amount" in run("limits", "add", "x", "--amount", "-1", code=2).stderr
    assert "there is no limit 'nothing'" in run("limits", "show", "nothing", code=2).stderr
    assert "not DIM=VALUE" in run("check", "acme", code=2).stderr
    assert "tenan: is no field here (known: tenant, project," in run("check", "tenan=acme", code=2).stderr
    assert "'colour' is not a dimension (known: tenant," in run("limits", "usage", "colour=red", code=2).stderr


def test_what_a_change_does_not_name_stays_as_it_was(run: Any) -> None:
    def window_after(*words: str) -> dict[str, Any]:
        run("limits", *words)
        return dict(json.loads(run("limits", "show", "kept", "--json").stdout)["window"])

    month = {"kind": "calendar", "unit": "month", "zone": "Europe/Berlin", "anchor_day": 5}
    given = json.dumps(month)
    assert window_after("add", "kept", "--amount", "5", "--set", f"window={given}", "--set", "tier=null") == month
    assert window_after("change", "kept", "--window", "month", "--set", "grace=0.5") == month
    assert window_after("change", "kept", "--zone", "Asia/Kolkata") == month | {"zone": "Asia/Kolkata"}
    assert window_after("change", "kept", "--window", "day") == {"kind": "calendar", "unit": "day", "zone": "Asia/Kolkata"}
    assert window_after("change", "kept", "--window", "rolling 1h")["seconds"] == 3600
    assert "--zone is for windows of the calendar" in run("limits", "change", "kept", "--zone", "UTC", code=2).stderr
    until = window_after("change", "kept", "--set", 'valid_to="2099-01-01T00:00:00Z"', "--window", "week")
    assert until == {"kind": "calendar", "unit": "week", "zone": "UTC", "week_start": "monday"}
    assert "2099" in json.loads(run("limits", "show", "kept", "--json").stdout)["valid_to"]
    run("limits", "change", "kept", "--set", "valid_to=null")
    assert json.loads(run("limits", "show", "kept", "--json").stdout)["valid_to"] is None
    run("limits", "remove", "kept")


def test_without_a_collector_it_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.delenv("SPANLEDGER_API", raising=False)
    result = CliRunner().invoke(app, ["limits", "list", "--data", str(tmp_path_factory.mktemp("none"))])
    assert result.exit_code == 1
    assert "spanledger up" in result.stderr


def test_the_first_key_needs_no_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = ["--data", str(tmp_path_factory.mktemp("keys"))]

    def of(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["keys", *words, *data])
        assert result.exit_code == code, result.output
        return result

    assert "no keys" in of("list").stdout
    secret = of("create", "first", "--role", "admin").stdout.strip()
    assert secret.startswith("slk_")
    [key] = json.loads(of("list", "--json").stdout)
    assert (key["prefix"], key["roles"]) == (secret[:12], ["admin"])
    assert secret not in of("list").stdout
    assert "revoked first" in of("revoke", key["id"], "--reason", "lost").stdout
    assert "closed" in of("list").stdout
    assert "roles" in of("create", "x", "--role", "emperor", code=2).stderr
    of("revoke", "nothing", code=2)
