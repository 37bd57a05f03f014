"""Checks and holds over HTTP, on a real collector."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from spanledger.api.access import LOCAL
from spanledger.api.checks import Checks
from spanledger.api.models import CheckBody
from spanledger.limits import Check, Verdict
from spanledger.limits.covering import Covering
from tests.api.running import Running, running
from tests.limits.made import Clock, entries, entry


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("data")) as up:
        yield up


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:80]


def limit(collector: Running, tenant: str, **fields: Any) -> dict[str, Any]:
    given = {"name": tenant, "selectors": {"tenant": tenant}, "measure": "requests", "amount": 1, "window": "month"} | fields
    answer = collector.client.post("/api/limits", json=given)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def check(collector: Running, **fields: Any) -> Any:
    return collector.client.post("/api/checks", json=fields)


def test_a_call_that_may_go_ahead_gets_a_hold_and_its_lease(collector: Running, tenant: str) -> None:
    limit(collector, tenant, amount=10)
    answer = check(collector, tenant=tenant, lease_seconds=60)
    assert answer.status_code == 200
    assert answer.json()["verdict"] == "allow"
    assert len(answer.json()["hold_id"]) == 32
    assert answer.json()["expires_at"].endswith("+00:00")
    assert answer.json()["warnings"] == []


def test_a_refusal_is_a_problem_that_says_which_limit_and_when_to_ask_again(collector: Running, tenant: str) -> None:
    made = limit(collector, tenant)
    assert check(collector, tenant=tenant).status_code == 200
    refused = check(collector, tenant=tenant)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert refused.headers["retry-after"] == str(problem["retry_after_seconds"])
    assert {
        k: problem[k] for k in ("status", "limit", "limit_id", "scope", "measure", "used", "held", "amount", "requested")
    } == {
        "status": 429,
        "limit": tenant,
        "limit_id": made["id"],
        "scope": f"tenant={tenant}",
        "measure": "requests",
        "used": "0",
        "held": "1",
        "amount": "1",
        "requested": "1",
    }
    assert problem["window_end"].endswith("+00:00")
    assert tenant in problem["detail"]


def test_a_released_hold_makes_room_and_can_be_released_once(collector: Running, tenant: str) -> None:
    limit(collector, tenant)
    hold = check(collector, tenant=tenant).json()["hold_id"]
    assert collector.client.delete(f"/api/holds/{hold}").status_code == 200
    again = collector.client.delete(f"/api/holds/{hold}")
    assert (again.status_code, again.headers["content-type"]) == (404, "application/problem+json")
    assert check(collector, tenant=tenant).status_code == 200


def test_a_hold_settled_by_hand_shrinks_to_what_was_used(collector: Running, tenant: str) -> None:
    made = limit(collector, tenant, measure="tokens", amount=1000)
    hold = check(collector, tenant=tenant, input_tokens=100, max_output_tokens=900).json()["hold_id"]
    assert check(collector, tenant=tenant, input_tokens=1, max_output_tokens=1).status_code == 429
    settled = collector.client.post(f"/api/holds/{hold}/settle", json={"input_tokens": 90, "output_tokens": 10})
    assert settled.json() == {"hold_id": hold, "state": "settled", "expires_at": None}
    stands = collector.get(f"/api/limits/{made['id']}")
    assert (stands["used"], stands["held"], stands["remaining"]) == ("0", "100", "900")


def test_a_hold_is_not_settled_by_saying_nothing(collector: Running, tenant: str) -> None:
    made = limit(collector, tenant)
    hold = check(collector, tenant=tenant).json()["hold_id"]
    nothing = collector.client.post(f"/api/holds/{hold}/settle", json={})
    assert (nothing.status_code, "say what the call used" in nothing.json()["detail"]) == (422, True)
    assert collector.get(f"/api/limits/{made['id']}")["held"] == "1"


def test_a_lease_can_be_lengthened_while_a_stream_runs(collector: Running, tenant: str) -> None:
    limit(collector, tenant)
    hold = check(collector, tenant=tenant).json()["hold_id"]
    extended = collector.client.post(f"/api/holds/{hold}/extend", json={"lease_seconds": 3600})
    assert extended.json()["state"] == "held"
    assert collector.client.post("/api/holds/nothing/extend", json={}).status_code == 404


def test_what_no_limit_covers_needs_no_hold(collector: Running) -> None:
    answer = check(collector, tenant="covered by nothing")
    assert (answer.status_code, answer.json()["verdict"], answer.json()["hold_id"]) == (200, "allow", None)


def test_a_dry_run_answers_and_holds_nothing(collector: Running, tenant: str) -> None:
    limit(collector, tenant)
    for _ in range(3):
        answer = check(collector, tenant=tenant, dry_run=True)
        assert (answer.status_code, answer.json()["hold_id"]) == (200, None)


def test_a_warning_passes_with_a_header_and_in_the_body(collector: Running, tenant: str) -> None:
    limit(collector, tenant, hard=False)
    check(collector, tenant=tenant)
    answer = check(collector, tenant=tenant)
    assert (answer.status_code, answer.json()["verdict"]) == (200, "warn")
    assert answer.json()["warnings"][0]["limit"] == tenant
    assert tenant in answer.headers["spanledger-warning"]


def test_a_check_may_wait_for_holds_to_settle(collector: Running, tenant: str) -> None:
    limit(collector, tenant)
    hold = check(collector, tenant=tenant).json()["hold_id"]
    settling = threading.Timer(0.2, lambda: collector.client.delete(f"/api/holds/{hold}"))
    settling.start()
    assert check(collector, tenant=tenant, wait_ms=10_000).status_code == 200
    settling.join()


def test_the_checks_of_a_list_wait_no_longer_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spanledger.api.checks.LONGEST_WAIT_MS", 100)
    waited: list[int] = []

    class Busy:
        covering = Covering([])

        async def ask(self, check: Check) -> Verdict:
            waited.append(check.wait_ms)
            await asyncio.sleep(0.11)
            return Verdict("allow")

    checks = Checks(Busy(), None)  # type: ignore[arg-type]
    status, _, _ = asyncio.run(checks.answer(b'[{"wait_ms": 9000}, {"wait_ms": 9000}, {}]', LOCAL))
    assert (status, waited[0] <= 100, waited[1:]) == (200, True, [0, 0])


def test_null_in_a_check_is_what_is_not_given(collector: Running, tenant: str) -> None:
    limit(collector, tenant)
    body = dict.fromkeys(CheckBody.model_fields) | {"tenant": tenant}
    assert check(collector, **body).status_code == 200
    assert collector.client.post("/api/checks", json=[body]).json()[0]["verdict"] == "refuse"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ('{"tenant": ', 400, None),
        ("[1]", 422, "0"),
        ("[]", 422, "body"),
        ("5", 422, "body"),
        ('[{"model": "m"}, {"input_tokens": -1}]', 422, "1.input_tokens"),
        ('{"tenant": 5}', 422, "tenant"),
        ('{"input_tokens": -1}', 422, "input_tokens"),
        ('{"max_output_tokens": "many"}', 422, "max_output_tokens"),
        ('{"wait_ms": 99999999}', 422, "wait_ms"),
        ('{"tennant": "acme"}', 422, "tennant"),
        ('{"tags": {"a": 1}}', 422, "tags.a"),
        ("\udcff", 400, None),
    ],
)
def test_a_malformed_check_is_told_which_field_is_wrong(collector: Running, body: str, status: int, field: str | None) -> None:
    answer = collector.client.post("/api/checks", content=body.encode("utf-8", "surrogateescape"))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if field:
        assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('"\\ud800"', "\ufffd"),
        ('"a\\u0000b"', "a\0b"),
        (f'"{"y" * 600}"', "y" * 512),
        (f'"{"y" * 70_000}"', "y" * 512),
        ('"' + "\U0001f600" * 600 + '"', "\U0001f600" * 512),
        ('""', None),
        ('"null"', None),
    ],
    ids=["half a character", "NUL", "long", "longer than a check", "long and wide", "empty", "a word for nothing"],
)
def test_a_strange_name_is_asked_for_where_its_calls_are_counted(
    collector: Running, tenant: str, written: str, kept: str | None
) -> None:
    made = limit(collector, tenant, per=["user", "tag.team"], amount=2)
    body = f'{{"tenant": {orjson.dumps(tenant).decode()}, "user": {written}, "tags": {{"team": {written}}}}}'
    many = collector.client.post("/api/checks", content=f"[{body}]")
    one = collector.client.post("/api/checks", content=body)
    assert (many.status_code, one.status_code) == (200, 200)
    collector.collector.limits.release(many.json()[0]["hold_id"])
    collector.collector.limits.release(one.json()["hold_id"])
    tags = {"team": "" if written == '""' else "null" if kept is None else kept[:256]}
    now = Clock(datetime.now(UTC))
    calls = [entry(now, tenant=tenant, user=kept, tags=tags) for _ in range(2)]
    collector.collector.limits.post(entries(*calls))
    assert len(collector.get(f"/api/limits/{made['id']}")["buckets"]) == 1
    assert collector.client.post("/api/checks", content=body).status_code == 429
    if kept is None:
        # Asking how it stands must not teach checks another bucket.
        collector.get("/api/usage", of=[f"tenant={tenant}", "user=", "tag.team="])
        assert collector.client.post("/api/checks", content=body).status_code == 429


def test_usage_is_asked_for_any_value(collector: Running, tenant: str) -> None:
    limit(collector, tenant, per=["model"])
    for model in ("meta-llama/Llama-3", "a,b=c"):
        check(collector, tenant=tenant, model=model)
        [found] = collector.get("/api/usage", of=[f"tenant={tenant}", f"model={model}"])["limits"]
        assert (found["subject"], found["held"]) == ({"model": model}, "1")
    for path in ("meta-llama/Llama-3", "meta-llama%2FLlama-3"):
        assert collector.get(f"/api/usage/tenant={tenant},model={path}")["limits"][0]["held"] == "1"
    assert collector.client.get("/api/usage").status_code == 422


def test_usage_lists_no_pause_that_is_over(collector: Running, tenant: str) -> None:
    whom = {"selectors": {"tenant": tenant}}
    assert collector.client.post("/api/pauses", json=whom | {"reason": "in force"}).status_code == 201
    for seconds in (0.5, 5, 50):  # what has ended before it is made is refused
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        over = whom | {"until": until.isoformat(), "reason": "over"}
        if collector.client.post("/api/pauses", json=over).status_code == 201:
            break
    time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()) + 0.01)
    assert [pause["reason"] for pause in collector.get(f"/api/usage/tenant={tenant}")["pauses"]] == ["in force"]


def test_a_check_of_two_mebibytes_is_not_read(collector: Running) -> None:
    assert collector.client.post("/api/checks", content=b"x" * 2 * 1024 * 1024).status_code == 413


def test_limits_of_the_configuration_hold_from_the_start(tmp_path: Path) -> None:
    given = [{"name": "all", "measure": "requests", "amount": 2, "window": "rolling 1h"}]
    with running(tmp_path / "data", given) as up:
        assert [one["source"] for one in up.get("/api/limits")["limits"]] == ["config"]
        assert [check(up).status_code for _ in range(3)] == [200, 200, 429]
        changed = up.client.patch(f"/api/limits/{up.get('/api/limits')['limits'][0]['id']}", json={"amount": 5})
        assert (changed.status_code, changed.json()["errors"][0]["field"]) == (422, "id")


_STRING = r'"[ !#-\[\]-~]*"'  # of RFC 9651, without escapes
_PARAMETERS = {"q": r"\d{1,15}", "w": r"\d{1,15}", "qu": _STRING, "r": r"\d{1,15}", "t": r"\d{1,15}"}


def rate_limits(header: str) -> dict[str, dict[str, str]]:
    """A header of the IETF's draft (a list of strings with parameters), read strictly."""
    items = re.findall(rf"({_STRING})((?:;[a-z]+=(?:\d+|{_STRING}))*)(?:, |$)", header)
    assert ", ".join(name + parameters for name, parameters in items) == header
    found = {}
    for name, parameters in items:
        read = dict(one.split("=", 1) for one in re.findall(rf";([a-z]+=(?:\d+|{_STRING}))", parameters))
        assert all(re.fullmatch(_PARAMETERS[key], value) for key, value in read.items())
        found[name[1:-1]] = read
    return found


def test_a_refusal_has_the_headers_of_the_ietf_draft_for_each_limit_that_refuses(collector: Running, tenant: str) -> None:
    limit(collector, tenant, name=f"{tenant} calls", window="rolling 1h")
    limit(collector, tenant, name=f"{tenant} money", measure="cost_usd", amount="0.000002", window="day")
    limit(collector, tenant, name=f"{tenant} life", window="lifetime")
    limit(collector, tenant, name=f"{tenant} enough", amount=100)
    priced = {"tenant": tenant, "provider": "openai", "model": "gpt-4o", "input_tokens": 100, "max_output_tokens": 10}
    assert check(collector, tenant=tenant, model="unpriced").status_code == 200
    refused = check(collector, **priced)
    assert refused.status_code == 429
    policy, state = rate_limits(refused.headers["ratelimit-policy"]), rate_limits(refused.headers["ratelimit"])
    assert policy[f"{tenant} calls"] == {"q": "1", "w": "3600", "qu": '"requests"'}
    assert policy[f"{tenant} money"] == {"q": "2", "w": "86400", "qu": '"usd-millionths"'}
    assert policy[f"{tenant} life"] == {"q": "1", "qu": '"requests"'}
    assert f"{tenant} enough" not in policy
    assert {name: one["r"] for name, one in state.items()} == {
        f"{tenant} calls": "0", f"{tenant} money": "1", f"{tenant} life": "0"
    }  # fmt: skip
    assert 0 < int(state[f"{tenant} money"]["t"]) <= 86_400
    assert len(refused.json()["request_id"]) == 16
    assert {one["limit"] for one in [refused.json(), *refused.json()["also"]]} == set(policy)


def test_a_name_with_anything_in_it_cannot_break_a_header(collector: Running, tenant: str) -> None:
    name = f'{tenant} "ü"\\ \r\nx-evil: 1'
    limit(collector, tenant, name=name, measure="tokens", amount=10**15)
    refused = check(collector, tenant=tenant, max_output_tokens=10**12, input_tokens=10**12)
    assert refused.status_code == 200
    limit(collector, tenant, name=name + "0", amount=0)
    refused = check(collector, tenant=tenant)
    assert refused.json()["limit"] == name + "0"
    assert "x-evil" not in refused.headers
    assert len(rate_limits(refused.headers["ratelimit-policy"])) == 1


def test_a_check_is_answered_alike_however_its_request_comes(collector: Running, tenant: str) -> None:
    """Whole, in pieces, in chunks, behind another, with what is unusual in its headers: of the same ten requests."""
    limit(collector, tenant, amount=7, thresholds=[])
    body = orjson.dumps({"tenant": tenant})
    head = b"POST /api/checks HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
    whole = head + b"\r\n" + body
    chunked = b"POST /api/checks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )
    ways = [
        [whole],
        [whole[:20], whole[20:]],
        [head + b"\r\n", body],
        [head + b"\r\n" + body[:5], body[5:]],
        [whole + whole],
        [head + b"expect: 100-continue\r\n\r\n", body],
        [chunked],
        [whole.replace(b"/api/checks ", b"/api/checks?x=1 ")],
        [head + b"connection: close\r\n\r\n" + body],
    ]
    port = int(collector.url.rpartition(":")[2])
    said, heads = [], set()
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        for pieces in ways:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.02)
            for _ in range(2 if pieces == [whole + whole] else 1):
                status, headers, answer = _read(connection)
                said.append((status, answer.get("verdict")))
                heads.add(frozenset(headers) - {"retry-after", "ratelimit", "ratelimit-policy", "connection"})
        assert connection.recv(10) == b""
    assert said == [(200, "allow")] * 7 + [(429, "refuse")] * 3
    assert heads == {frozenset({"date", "server", "content-type", "content-length"})}


def test_a_connection_may_be_used_for_checks_and_for_everything_else_in_turn(collector: Running, tenant: str) -> None:
    limit(collector, tenant, amount=5)
    with httpx.Client(base_url=collector.url, limits=httpx.Limits(max_connections=1), timeout=60) as client:
        for _ in range(5):
            hold = client.post("/api/checks", json={"tenant": tenant}).json()["hold_id"]
            assert client.get("/healthz").status_code == 200
            assert client.post("/api/checks", json={"tenant": 5}).status_code == 422
            assert client.delete(f"/api/holds/{hold}").status_code == 200


def test_a_client_that_leaves_while_its_check_waits_leaves_no_hold(collector: Running, tenant: str) -> None:
    made = limit(collector, tenant)
    hold = check(collector, tenant=tenant).json()["hold_id"]
    body = orjson.dumps({"tenant": tenant, "wait_ms": 10_000})
    port = int(collector.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(b"POST /api/checks HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.1)
    time.sleep(0.1)
    collector.client.delete(f"/api/holds/{hold}")
    deadline = time.monotonic() + 20
    while check(collector, tenant=tenant, dry_run=True).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert collector.get(f"/api/limits/{made['id']}")["held"] == "0"


def _read(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """One answer, byte by byte, so that nothing of the next is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    first, *lines = head.decode().strip().split("\r\n")
    if first.split()[1] == "100":
        return _read(connection)
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(first.split()[1]), headers, orjson.loads(body)
