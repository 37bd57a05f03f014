"""Filters, pages and ETags of limits, tiers, pauses and grants over HTTP; and what OpenAPI shows."""

import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.running import Running, running
from tests.limits.made import Clock, entries, entry


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    """Five limits: a, b and c of tenants, d of tier pro, e that only warns."""
    with running(tmp_path_factory.mktemp("data")) as up:
        add(up, "/api/tiers", name="pro", members=["gold*"])
        for name in "abc":
            limit(up, name, selectors={"tenant": name})
        limit(up, "d", tier="pro", measure="tokens")
        limit(up, "e", hard=False, enabled=False)
        yield up


def add(collector: Running, path: str, **fields: Any) -> dict[str, Any]:
    answer = collector.client.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def limit(collector: Running, name: str, **fields: Any) -> dict[str, Any]:
    return add(collector, "/api/limits", **{"name": name, "measure": "requests", "amount": 5, "window": "day", **fields})


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, "abcde"),
        ({"name": "b"}, "b"),
        ({"measure": "tokens"}, "d"),
        ({"tier": "pro"}, "d"),
        ({"source": "config"}, ""),
        ({"enabled": False}, "e"),
        ({"hard": True}, "abcd"),
        ({"selects": "tenant=b"}, "bde"),
        ({"selects": "provider=openai"}, "abcde"),
        ({"selects": ["tenant=b", "user=u"], "hard": True}, "bd"),
        ({"count": 2}, "ab"),
        ({"count": 2, "after": "b"}, "cd"),
        ({"after": "zz"}, ""),
    ],
)
def test_a_list_of_limits_has_those_that_were_asked_for(collector: Running, wanted: dict[str, Any], names: str) -> None:
    assert "".join(one["name"] for one in collector.get("/api/limits", **wanted)["limits"]) == names


def test_pages_put_together_are_the_whole_list_and_the_last_one_says_so(collector: Running) -> None:
    names, after = [], None
    while True:
        found = collector.get("/api/limits", count=2, **({"after": after} if after else {}))
        names += [one["name"] for one in found["limits"]]
        after = found["next"]
        if after is None:
            break
    assert names == list("abcde")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limits?selects=planet%3Dmars", "selects"),
        ("limits?selects=tenant%3Da&selects=tenant%3Db", "selects"),
        ("limits?count=0", "count"),
        ("limits?count=many", "count"),
        ("limits?hard=maybe", "hard"),
        ("limits?hrad=true", "hrad"),
        ("limits?measure=euros", "measure"),
        ("usage/tenant=a,tenant=b", "of"),
        ("usage/tenant=a?user=u", "user"),
        ("pauses?tenant=a", "tenant"),
        ("audit?before=0001-01-01T00:00:00%2B14:00", "before"),
        ("audit?table=%00", "table"),
        ("summary?tenent=a", "tenent"),
        ("summary?count=5", "count"),
        ("summary?until=0001-01-01T00:00:00%2B14:00", "until"),
    ],
)
def test_a_question_that_cannot_be_is_refused_with_its_field(collector: Running, query: str, field: str) -> None:
    answer = collector.client.get(f"/api/{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["/api/limits", "/api/tiers"])
def test_a_change_that_is_based_on_an_older_state_is_refused(collector: Running, path: str) -> None:
    more = {"measure": "requests", "amount": 1, "window": "day"} if path == "/api/limits" else {}
    made = collector.client.post(path, json={"name": f"etag {path}", **more})
    here, first = made.headers["location"], made.headers["etag"]
    assert collector.client.get(here).headers["etag"] == first
    changed = collector.client.patch(here, json={"description": "new"}, headers={"if-match": first})
    second = changed.headers["etag"]
    assert (changed.status_code, second != first) == (200, True)
    late = collector.client.patch(here, json={"description": "other"}, headers={"if-match": first})
    assert (late.status_code, late.headers["etag"], late.json()["status"]) == (412, second, 412)
    assert collector.client.delete(here, headers={"if-match": first}).status_code == 412
    assert collector.get(here)["description"] == "new"
    either = collector.client.patch(here, json={"description": "third"}, headers={"if-match": f"{first}, {second}"})
    assert either.status_code == 200
    assert collector.client.delete(here, headers={"if-match": "*"}).status_code == 204
    assert collector.client.get(here).status_code == 404


def test_of_changes_that_are_based_on_one_state_and_come_together_one_is_made(collector: Running) -> None:
    made = collector.client.post("/api/limits", json={"name": "race", "measure": "requests", "amount": 1, "window": "day"})
    path, tag = made.headers["location"], made.headers["etag"]

    def change(amount: int) -> int:
        answer = httpx.patch(f"{collector.url}{path}", json={"amount": amount}, headers={"if-match": tag}, timeout=30)
        return answer.status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(change, range(2, 8))) == [200, 412, 412, 412, 412, 412]
    collector.client.delete(path)


def test_the_etag_of_a_limit_does_not_change_with_what_is_used(collector: Running) -> None:
    made = limit(collector, "used", selectors={"tenant": "used"})
    before = collector.client.get(f"/api/limits/{made['id']}")
    collector.client.post("/api/checks", json={"tenant": "used"})
    after = collector.client.get(f"/api/limits/{made['id']}")
    assert (before.json()["held"], after.json()["held"]) == ("0", "1")
    assert before.headers["etag"] == after.headers["etag"]
    collector.client.delete(f"/api/limits/{made['id']}")


def test_pauses_and_grants_come_in_pages_and_by_whom_they_cover(collector: Running) -> None:
    pauses = [
        collector.client.post("/api/pauses", json={"selectors": {"user": name}, "reason": "stop"}).json()["id"] for name in "xyz"
    ]
    found = collector.get("/api/pauses", count=2)
    assert [one["id"] for one in found["pauses"]] == pauses[:0:-1]
    assert [one["id"] for one in collector.get("/api/pauses", after=found["next"])["pauses"]] == pauses[:1]
    assert [one["id"] for one in collector.get("/api/pauses", covers="user=y")["pauses"]] == [pauses[1]]
    assert collector.client.get("/api/pauses?after=gone").json()["errors"][0]["field"] == "after"
    for pause in pauses:
        assert collector.client.delete(f"/api/pauses/{pause}").status_code == 204
    of = collector.get("/api/limits", name="a")["limits"][0]["id"]
    for kind in ("top_up", "override"):
        add(collector, f"/api/limits/{of}/grants", kind=kind, amount=3, reason="because")
    assert [one["kind"] for one in collector.get("/api/grants", limit_id=of)["grants"]] == ["override", "top_up"]
    assert [one["kind"] for one in collector.get("/api/grants", kind="top_up")["grants"]] == ["top_up"]
    assert collector.get("/api/grants", count=1)["next"] is not None


def test_openapi_shows_an_example_of_every_body_and_problems_as_they_are(collector: Running) -> None:
    shown = collector.get("/api/openapi.json")
    bodies = shown["components"]["schemas"]

    def has_example(schema: dict[str, Any]) -> bool:
        if "$ref" in schema:
            schema = bodies[schema["$ref"].rpartition("/")[2]]
        within = [*schema.get("oneOf", ()), *schema.get("properties", {}).values()]
        return bool(schema.get("examples")) or any("examples" in one or has_example(one) for one in within)

    bare = []
    for path, methods in shown["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None and not has_example(body["schema"]):
                bare.append((method, path))
            if body is not None and method == "post" and path.startswith("/api/prices"):
                schema = bodies.get(body["schema"].get("$ref", "").rpartition("/")[2], body["schema"])
                [example] = schema["examples"]
                assert collector.client.post(path, json=example).status_code in (200, 201), path
            assert "application/problem+json" in operation["responses"]["422"]["content"]
    assert bare == []
    check = shown["paths"]["/api/checks"]["post"]["responses"]
    assert set(check["429"]["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}
    full = limit(collector, "full", selectors={"tenant": "full"}, amount=0)
    [refused] = collector.client.post("/api/checks", json=[{"tenant": "full"}]).json()
    collector.client.delete(f"/api/limits/{full['id']}")
    assert set(check["429"]["content"]["application/problem+json"]["example"]) == {n for n, v in refused.items() if v is not None}
    passed = collector.client.post("/api/checks", json={}).json()
    assert set(check["200"]["content"]["application/json"]["example"]) == set(passed)


def test_changes_made_together_come_over_as_many_pages_as_they_need(collector: Running) -> None:
    given = {"measure": "requests", "amount": 1, "window": "day"}
    collector.collector.limits.configure([{**given, "name": f"together {n}"} for n in range(5)])
    rows: list[dict[str, Any]] = []
    after: str | None = None
    while len(rows) < 5:
        found = collector.get("/api/audit", table="limits", count=2, **({"after": after} if after else {}))
        rows += found["audit"]
        after = found["next"]
    assert {row["is"]["name"] for row in rows[:5]} == {f"together {n}" for n in range(5)}
    assert len({row["at"] for row in rows[:5]}) == 1
    assert collector.client.get("/api/audit?after=gone").json()["errors"][0]["field"] == "after"
    collector.collector.limits.configure([])


def test_openapi_shows_of_every_endpoint_of_limits_an_answer_as_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        _shows_answers_as_they_are(collector)


def _shows_answers_as_they_are(collector: Running) -> None:
    of = limit(collector, "shown", selectors={"tenant": "shown"}, per=["user"])
    collector.collector.limits.post(entries(entry(Clock(datetime.now(UTC)), tenant="shown", user="u")))
    hold = [collector.client.post("/api/checks", json={"tenant": "shown", "user": "u"}).json()["hold_id"] for _ in range(3)]
    tier = add(collector, "/api/tiers", name="shown")
    pause = add(collector, "/api/pauses", selectors={"tenant": "other"}, reason="because")
    grant = {"kind": "top_up", "amount": 3, "reason": "because", "subject": {"user": "u"}}
    new = {"name": "new", "measure": "requests", "amount": 5, "window": "day"}
    here, there = f"/api/limits/{of['id']}", f"/api/tiers/{tier['id']}"
    asked: dict[tuple[str, str], tuple[str, Any]] = {
        ("post", "/api/limits/{limit_id}/grants"): (f"{here}/grants", grant),
        ("get", "/api/limits"): ("/api/limits?name=shown", None),
        ("post", "/api/limits"): ("/api/limits", new),
        ("get", "/api/limits/{limit_id}"): (here, None),
        ("patch", "/api/limits/{limit_id}"): (here, {"amount": 6}),
        ("post", "/api/limits/backtest"): ("/api/limits/backtest", new),
        ("get", "/api/limits/{limit_id}/backtest"): (f"{here}/backtest", None),
        ("get", "/api/usage"): ("/api/usage?of=tenant=shown&of=user=u", None),
        ("get", "/api/usage/{subject}"): ("/api/usage/tenant=shown,user=u", None),
        ("get", "/api/tiers"): ("/api/tiers", None),
        ("post", "/api/tiers"): ("/api/tiers", {"name": "newer"}),
        ("get", "/api/tiers/{tier_id}"): (there, None),
        ("patch", "/api/tiers/{tier_id}"): (there, {"members": []}),
        ("post", "/api/tiers/{tier_id}/members"): (f"{there}/members", {"members": ["acme"]}),
        ("get", "/api/pauses"): ("/api/pauses", None),
        ("post", "/api/pauses"): ("/api/pauses", {"selectors": {"tenant": "another"}, "reason": "because"}),
        ("get", "/api/grants"): ("/api/grants", None),
        ("post", "/api/limits/{limit_id}/resets"): (f"{here}/resets", {"subject": {"user": "u"}, "reason": "because"}),
        ("get", "/api/audit"): (f"/api/audit?row_id={pause['id']}", None),
        ("get", "/api/keys"): ("/api/keys", None),
        ("post", "/api/holds/{hold_id}/extend"): (f"/api/holds/{hold[0]}/extend", {}),
        ("post", "/api/holds/{hold_id}/settle"): (f"/api/holds/{hold[2]}/settle", {"cost_usd": "0"}),
        ("delete", "/api/holds/{hold_id}"): (f"/api/holds/{hold[1]}", None),
    }
    shown = collector.get("/api/openapi.json")
    of_limits = re.compile(r"/api/(limits|usage|tiers|pauses|grants|holds|audit|keys)\b")
    bodies = shown["components"]["schemas"]
    for path, methods in shown["paths"].items():
        for method, operation in methods.items():
            if not of_limits.match(path):
                continue
            [(status, answer)] = [(s, a) for s, a in operation["responses"].items() if s.startswith("2")]
            if status == "204":
                continue
            content = answer["content"]["application/json"]
            schema = content["schema"]
            example = content.get("example") or bodies[schema["$ref"].rpartition("/")[2]]["examples"][0]
            if path.startswith("/api/keys") and method != "get":
                assert {"id", "prefix", "roles"} <= set(example)  # making one would close the API to us
                continue
            where, body = asked.pop((method, path))
            got = collector.client.request(method, where, json=body)
            assert (got.status_code, shape(got.json(), example)) == (int(status), shape(example, got.json())), (method, path)
    assert asked == {}


def shape(one: Any, other: Any) -> Any:
    """The keys of an answer, as deep as the other one has something there. OpenAPI shows no nulls."""
    if isinstance(one, dict) and isinstance(other, dict):
        free = {"subject", "selectors", "window", "was", "is"}
        there = {key for key, value in one.items() if value is not None and other.get(key, 0) is not None}
        return {key: None if key in free else shape(one[key], other.get(key)) for key in there}
    if isinstance(one, list) and isinstance(other, list):
        return shape(one[0], other[0]) if one and other else None
    return None
