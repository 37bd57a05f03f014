"""The limits themselves over HTTP: made, read, changed, removed, and refused with the field named."""

import json
from collections.abc import Generator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanledger.control import TABLES
from spanledger.ledger.frame import conform
from tests.api.running import Running, running
from tests.limits.made import Clock, entries, entry


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("data")) as up:
        up.collector.prices.price(entries(entry(Clock())).drop("cost_usd", "cost_state"))
        yield up


GOOD = {"measure": "cost_usd", "amount": "5.00", "window": "month"}


def test_a_limit_comes_back_as_it_was_written_with_every_setting(collector: Running) -> None:
    made = collector.client.post("/api/limits", json={**GOOD, "name": "full", "selectors": {"tenant": "acme"}, "per": ["user"]})
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/limits/{made.json()['id']}"
    one = collector.get(made.headers["location"])
    assert one == made.json()
    assert one["window"] == {"kind": "calendar", "unit": "month", "zone": "UTC"}
    assert one["selectors"] == {"tenant": ["acme"]}
    assert (one["amount"], one["used"], one["held"], one["remaining"], one["fraction"]) == ("5", "0", "0", "5", 0.0)
    assert one["scope"] == "tenant=acme user=*"
    assert one["id"] in [x["id"] for x in collector.get("/api/limits")["limits"]]


def test_a_change_and_a_removal_are_audited_with_their_reason(collector: Running) -> None:
    made = collector.client.post("/api/limits", json={**GOOD, "name": "audited"}).json()
    changed = collector.client.patch(f"/api/limits/{made['id']}", json={"amount": "7.5", "reason": "a better month"})
    assert changed.json()["amount"] == "7.5"
    assert collector.client.delete(f"/api/limits/{made['id']}", params={"reason": "gone"}).status_code == 204
    assert collector.client.get(f"/api/limits/{made['id']}").status_code == 404
    rows = [r for r in collector.collector.control.rows(TABLES["audit"]) if r["row_id"] == made["id"]]
    assert {(r["action"], r["why"]) for r in rows} == {("insert", None), ("update", "a better month"), ("delete", "gone")}


def test_a_limit_that_is_removed_refuses_nobody(collector: Running) -> None:
    given = {**GOOD, "name": "short-lived", "amount": 0, "selectors": {"tenant": "short-lived"}}
    made = collector.client.post("/api/limits", json=given).json()
    assert collector.client.post("/api/checks", json={"tenant": "short-lived"}).status_code == 429
    collector.client.delete(f"/api/limits/{made['id']}")
    assert collector.client.post("/api/checks", json={"tenant": "short-lived"}).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"amount": -1}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1e99"}, "amount"),
        ({"amount": "five"}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "0.0000000000001"}, "amount"),
        ({"amount": "1e-999999999"}, "amount"),
        ({"amount": "1_000"}, "amount"),
        ({"measure": "tokens", "amount": "1.5"}, "amount"),
        ({"measure": "euros"}, "measure"),
        ({"window": {"kind": "rolling", "seconds": 0}}, "window.seconds"),
        ({"window": {"kind": "calendar", "unit": "day", "zone": "Mars/Olympus"}}, "window.zone"),
        ({"window": None}, "window"),
        ({"selectors": {"tenent": "acme"}}, "selectors.tenent"),
        ({"selectors": {"tenant": []}}, "selectors.tenant"),
        ({"selectors": {"tenant": "a*b"}}, "selectors.tenant"),
        ({"selectors": {"tenant": 5}}, "selectors.tenant"),
        ({"selectors": "acme"}, "selectors"),
        ({"per": ["planet"]}, "per"),
        ({"per": 5}, "per"),
        ({"hard": "yes"}, "hard"),
        ({"hard": False, "action": "refuse"}, "action"),
        ({"action": "explode"}, "action"),
        ({"thresholds": [0]}, "thresholds"),
        ({"thresholds": 0.8}, "thresholds"),
        ({"unpriced": "ceiling"}, "ceiling_usd_per_mtok"),
        ({"hold": "fixed"}, "hold_amount"),
        ({"window": "rolling 1h", "rollover": 1}, "rollover"),
        ({"valid_from": "2026-01-01T00:00:00"}, "valid_from"),
        ({"valid_from": "2026-01-02T00:00:00Z", "valid_to": "2026-01-01T00:00:00Z"}, "valid_to"),
        ({"valid_from": "0001-01-01T00:00:00+14:00"}, "valid_from"),
        ({"description": "\ud83d"}, "description"),
        ({"reason": "\0"}, "reason"),
        ({"per": ["tag." + "k" * 129]}, "per"),
        ({"selectors": {"tenant": ["acme", "\ud83d"]}}, "selectors.tenant"),
        ({"selectors": {"tag.\ud83d": "x"}}, "selectors.tag.?"),
        ({"thresholds": json.loads("[" * 600 + "]" * 600)}, "thresholds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_with_its_field_named(collector: Running, wrong: dict[str, Any], field: str) -> None:
    before = len(collector.get("/api/limits")["limits"])
    answer = collector.client.post("/api/limits", content=json.dumps({**GOOD, "name": "wrong", **wrong}))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert len(collector.get("/api/limits")["limits"]) == before


def test_two_limits_cannot_have_one_name(collector: Running) -> None:
    assert collector.client.post("/api/limits", json={**GOOD, "name": "twice"}).status_code == 201
    again = collector.client.post("/api/limits", json={**GOOD, "name": "twice"})
    assert again.json()["errors"][0]["field"] == "name"


def test_a_limit_that_is_not_there_is_a_404(collector: Running) -> None:
    for answer in (
        collector.client.get("/api/limits/nothing"),
        collector.client.patch("/api/limits/nothing", json={"amount": 1}),
        collector.client.delete("/api/limits/nothing"),
    ):
        assert answer.status_code == 404
        assert answer.json()["status"] == 404


def test_a_new_limit_counts_what_the_ledger_has_already(collector: Running) -> None:
    now = Clock(datetime.now(UTC))
    frame = entries(*(entry(now, tenant="earlier", cost_usd="0.25") for _ in range(3)))
    collector.collector.ledger.post(conform(frame), None)
    made = collector.client.post(
        "/api/limits", json={**GOOD, "name": "later", "selectors": {"tenant": "earlier"}, "window": "year"}
    )
    assert made.json()["used"] == "0.75"
    assert collector.get("/api/summary", tenant="earlier", since="2020-01-01T00:00:00Z")["totals"]["cost_usd"] == "0.750000000000"
    assert Decimal(made.json()["remaining"]) == Decimal("4.25")


LEASE = "no call outlives its lease without extending it; one that does is not bounded"
TOKENS = "no more input or output tokens than its check said; what it takes beyond that is not covered"


def test_a_collector_that_starts_again_has_its_limits_and_counts_them_from_its_ledger(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        made = up.client.post("/api/limits", json={**GOOD, "name": "kept", "selectors": {}}).json()
        frame = entries(*(entry(Clock(datetime.now(UTC)), cost_usd="0.25") for _ in range(3)))
        up.collector.ledger.post(conform(frame), None)
    with running(tmp_path) as again:
        assert again.get(f"/api/limits/{made['id']}")["used"] == "0.75"


@pytest.mark.parametrize(
    ("fields", "amount", "rests_on", "not_on"),
    [
        (
            {"measure": "requests"},
            "0",
            ["every call is checked", LEASE, "clock"],
            ["tokens", "price"],
        ),
        (
            {},
            "0",
            [
                "no more input or output tokens than its check said; what it takes beyond that is not covered",
                "images",
                "has a price",
            ],
            ["counters", "a second ago"],
        ),
        ({"unpriced": "refuse", "on_failure": "closed", "window": "lifetime"}, "0", [TOKENS, LEASE], ["price", "clock"]),
        ({"hold": "learned", "amount": 40}, "4", [TOKENS], []),
        ({"hold": "fixed", "hold_amount": 1, "overshoot": "2.5"}, "2.5", [TOKENS], []),
        ({"hard": False}, "unbounded", [], ["every call is checked"]),
    ],
)
def test_a_limit_states_how_far_it_can_be_passed_and_what_that_rests_on(
    collector: Running, fields: dict[str, Any], amount: str, rests_on: list[str], not_on: list[str]
) -> None:
    made = collector.client.post("/api/limits", json={**GOOD, "name": "bound", **fields}).json()
    bound = collector.get(f"/api/limits/{made['id']}")["overshoot_bound"]
    assert bound["amount"] == amount
    said = "; ".join(bound["rests_on"])
    assert [words for words in rests_on if words not in said] == []
    assert [words for words in not_on if words in said] == []
    collector.client.delete(f"/api/limits/{made['id']}")


def test_the_usage_of_a_subject_says_when_each_limit_renews(collector: Running) -> None:
    now = Clock(datetime.now(UTC))
    whose = {"selectors": {"tenant": "renews"}, "measure": "requests", "amount": 5}
    for window in ("rolling 1h", "day", "lifetime"):
        assert (
            collector.client.post("/api/limits", json={"name": f"renews {window}", "window": window, **whose}).status_code == 201
        )

    def found() -> dict[str, Any]:
        listed = collector.get("/api/usage/tenant=renews")["limits"]
        return {one["limit"].removeprefix("renews "): one for one in listed if one["limit"].startswith("renews ")}

    assert found()["rolling 1h"]["resets_in_seconds"] is None
    collector.collector.limits.post(entries(entry(now, tenant="renews")))
    collector.client.post("/api/checks", json={"tenant": "renews"})
    stands = found()
    assert {(one["used"], one["held"], one["remaining"]) for one in stands.values()} == {("1", "1", "3")}
    assert 3_500 < stands["rolling 1h"]["resets_in_seconds"] <= 3_632
    assert 0 < stands["day"]["resets_in_seconds"] <= 86_400
    assert stands["lifetime"]["resets_in_seconds"] is None
