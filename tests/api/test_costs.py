"""Summaries, the overview and the latest calls, and whether the collector is well, over HTTP."""

from collections.abc import Generator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from spanledger.ledger.frame import conform
from tests.api.running import Running, running
from tests.limits.made import Clock, entries, entry


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("data")) as up:
        assert up.get("/api/summary")["totals"]["calls"] == 0
        now = Clock(datetime.now(UTC))
        rows = [entry(now, tenant=t, model=m, cost_usd=c) for t, m, c in (("a", "x", "1"), ("a", "y", "2.5"), ("b", "x", None))]
        rows[0]["tags"] = [{"key": "team", "value": "red"}]
        rows[2]["cost_state"] = "unpriced"
        up.collector.ledger.post(conform(entries(*rows)), None)
        yield up


def test_the_totals_say_how_much_of_them_has_a_price(collector: Running) -> None:
    totals = collector.get("/api/summary")["totals"]
    assert (totals["calls"], totals["unpriced"], totals["tokens"]) == (3, 1, 60)
    assert Decimal(totals["cost_usd"]) == Decimal("3.5")
    assert totals["coverage"] == pytest.approx(2 / 3)


def test_groups_steps_and_filters_add_up(collector: Running) -> None:
    by_tenant = collector.get("/api/summary", group_by="tenant")["groups"]
    assert {g["key"]: g["calls"] for g in by_tenant} == {"a": 2, "b": 1}
    assert collector.get("/api/summary", group_by="model", tenant="a")["totals"]["calls"] == 2
    assert collector.get("/api/summary", **{"tag.team": "red"})["totals"]["calls"] == 1
    assert sum(s["calls"] for s in collector.get("/api/summary", step="day")["steps"]) == 3


def test_the_overview_has_today_and_this_month(collector: Running) -> None:
    overview = collector.get("/api/overview")
    assert overview["today"]["calls"] == overview["month"]["calls"] == 3


def test_the_latest_calls_come_newest_first_and_filtered(collector: Running) -> None:
    assert len(collector.get("/api/calls")["calls"]) == 3
    [one] = collector.get("/api/calls", tenant="b", count=1)["calls"]
    assert (one["tenant"], one["cost_usd"]) == ("b", None)
    assert collector.get("/api/calls", outcome="error")["calls"] == []


def test_the_calls_come_in_pages(collector: Running) -> None:
    whole = collector.get("/api/calls")
    assert whole["next"] is None
    pages, after = [], None
    for _ in whole["calls"]:
        page = collector.get("/api/calls", count=1, **({"after": after} if after else {}))
        pages += page["calls"]
        after = page["next"]
    assert (pages, after) == (whole["calls"], None)
    assert collector.client.get("/api/calls?after=there").json()["errors"][0]["field"] == "after"


def test_a_bare_day_is_midnight_utc(collector: Running) -> None:
    summary = collector.get("/api/summary", since="2026-01-01", until="2026-02-01", as_known_on="2026-03-01")
    assert (summary["since"], summary["as_known_on"]) == ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
        ({"group_by": "planet"}, "group_by"),
        ({"tenent": "a"}, "tenent"),
        ({"top": "0"}, "top"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_which_parameter(collector: Running, query: dict[str, str], field: str) -> None:
    answer = collector.client.get("/api/summary", params=query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_it_says_that_it_lives_is_ready_and_which_version_it_is(collector: Running) -> None:
    assert collector.get("/healthz")["status"] == "ok"
    assert collector.get("/api/health")["version"] == collector.get("/api/version")["version"]
    assert collector.get("/readyz") == {"status": "ready"}
    assert collector.client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_openapi_describes_the_check_that_is_really_served(collector: Running) -> None:
    paths = collector.get("/api/openapi.json")["paths"]
    schema = paths["/api/checks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"tenant", "model", "input_tokens", "max_output_tokens", "wait_ms", "dry_run"} <= set(schema["oneOf"][0]["properties"])
    assert "429" in paths["/api/checks"]["post"]["responses"]


def test_what_is_not_there_is_a_problem_too(collector: Running) -> None:
    answer = collector.client.get("/api/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert collector.client.put("/api/limits").status_code == 405
