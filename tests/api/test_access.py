"""Who may do what: every endpoint's role, keys that open only what they should, tokens of an issuer, one tenant's view."""

from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import polars as pl
import pytest

from spanledger.api.access import PER_TENANT, PUBLIC, ROLE_OF, Access, is_loopback, permit
from spanledger.api.app import create_app
from spanledger.api.checks import Checks
from spanledger.api.problem import Problem
from spanledger.collector.config import ConfigError, load
from spanledger.collector.receive.refused import UnknownKey
from spanledger.collector.receive.senders import Senders
from spanledger.collector.settings import Api, Extensions, Settings
from spanledger.control.keys import ROLES, Keys
from spanledger.ledger.frame import conform
from tests.api.running import Running, running
from tests.limits.made import Clock, control, entries, entry


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("data")) as up:
        yield up


@pytest.fixture(scope="module")
def secrets_of(collector: Running) -> dict[str, str]:
    """A key for each role; the admin's is made first, by whoever is on this machine."""
    made: dict[str, str] = {}
    for role in ("admin", "read", "check", "ingest"):
        answer = collector.client.post("/api/keys", json={"name": role, "roles": [role]}, headers=_bearer(made.get("admin")))
        assert answer.status_code == 201, answer.text
        made[role] = answer.json()["secret"]
    for role in ("read", "check"):
        given = {"name": f"{role} of acme", "roles": [role], "tenant": "acme"}
        made[f"acme {role}"] = collector.client.post("/api/keys", json=given, headers=_bearer(made["admin"])).json()["secret"]
    return made


def _bearer(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"authorization": f"Bearer {secret}"}


def routes(collector: Running) -> list[tuple[str, str]]:
    app = create_app(collector.collector)
    found: list[tuple[str, str]] = []
    todo: list[Any] = list(app.routes)
    while todo:
        route = todo.pop()
        todo += getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None) or []
        if getattr(route, "endpoint", None) is not None:
            found += [(method, route.path) for method in route.methods if method != "HEAD"]
    return found


def test_every_endpoint_has_its_role_in_the_table_and_the_table_has_nothing_else(collector: Running) -> None:
    assert set(routes(collector)) == set(ROLE_OF)
    assert set(ROLE_OF) >= PER_TENANT


@pytest.mark.parametrize("endpoint", sorted(ROLE_OF), ids=lambda e: " ".join(e))
def test_an_endpoint_opens_to_its_role_and_to_admin_and_to_nobody_else(
    collector: Running, secrets_of: dict[str, str], endpoint: tuple[str, str]
) -> None:
    method, path = endpoint
    path = path.replace("{subject:path}", "tenant=acme")
    needed = ROLE_OF[endpoint]
    assert (collector.client.request(method, path).status_code == 401) is (needed != PUBLIC)
    assert (collector.client.request(method, path, headers=_bearer("slk_wrong")).status_code == 401) is (needed != PUBLIC)
    for role in ROLES:
        answer = collector.client.request(method, path, headers=_bearer(secrets_of[role]))
        assert (answer.status_code not in (401, 403)) is (needed in (PUBLIC, role) or role == "admin"), (role, answer.text)
        assert answer.status_code != 500


def test_a_key_is_shown_once_and_kept_as_a_hash(collector: Running, secrets_of: dict[str, str]) -> None:
    listed = collector.client.get("/api/keys", headers=_bearer(secrets_of["admin"])).text
    audit = collector.client.get("/api/audit", headers=_bearer(secrets_of["admin"])).text
    database = b"".join(file.read_bytes() for file in collector.collector.data.glob("control.sqlite*"))
    for secret in secrets_of.values():
        assert secret[:12] in listed
        assert secret not in listed
        assert secret not in audit
        assert secret.encode() not in database
    assert '"hash":"(secret)"' in audit


def test_a_revoked_key_opens_nothing_and_says_when_it_was_last_used(collector: Running, secrets_of: dict[str, str]) -> None:
    admin = _bearer(secrets_of["admin"])
    made = collector.client.post("/api/keys", json={"name": "short", "roles": ["read"]}, headers=admin).json()
    assert collector.client.get("/api/limits", headers=_bearer(made["secret"])).status_code == 200
    assert collector.client.get("/api/limits", headers={"x-api-key": made["secret"]}).status_code == 200
    revoked = collector.client.delete(f"/api/keys/{made['id']}", headers=admin).json()
    assert revoked["revoked_at"] is not None
    assert revoked["last_used_at"] is not None
    assert collector.client.get("/api/limits", headers=_bearer(made["secret"])).status_code == 401
    assert collector.client.delete("/api/keys/nothing", headers=admin).status_code == 404


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "x", "roles": ["emperor"]}, "roles"),
        ({"name": "x", "roles": []}, "roles"),
        ({"name": " ", "roles": ["read"]}, "name"),
        ({"name": "x", "roles": ["admin"], "tenant": "acme"}, "tenant"),
        ({"name": "x", "roles": ["read"], "tenant": ""}, "tenant"),
        ({"name": "x", "roles": ["read"], "tenant": "y" * 600}, "tenant"),
        ({"name": "x", "roles": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "roles": ["read"], "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    collector: Running, secrets_of: dict[str, str], given: dict[str, Any], field: str
) -> None:
    answer = collector.client.post("/api/keys", json=given, headers=_bearer(secrets_of["admin"]))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_a_key_of_one_tenant_speaks_for_it_whatever_the_body_says(collector: Running, secrets_of: dict[str, str]) -> None:
    admin, check, read = (_bearer(secrets_of[name]) for name in ("admin", "acme check", "acme read"))
    given = {"name": "acme", "per": ["tenant"], "measure": "requests", "amount": 2, "window": "day"}
    made = collector.client.post("/api/limits", json=given, headers=admin).json()
    held = collector.client.post("/api/checks", json={"user": "u", "tenant": ""}, headers=check).json()["hold_id"]
    assert collector.client.post("/api/checks", json={"tenant": "other"}, headers=check).status_code == 403
    assert collector.client.post("/api/checks", json=[{"tenant": "acme"}, {"tenant": "other"}], headers=check).status_code == 403
    buckets = collector.client.get(f"/api/limits/{made['id']}", headers=admin).json()["buckets"]
    assert [(b["subject"], b["held"]) for b in buckets if b["held"] != "0"] == [({"tenant": "acme"}, "1")]
    others = collector.client.post("/api/checks", json={"tenant": "other"}, headers=_bearer(secrets_of["check"])).json()[
        "hold_id"
    ]
    assert collector.client.delete(f"/api/holds/{others}", headers=check).status_code == 404
    assert collector.client.delete(f"/api/holds/{held}", headers=check).status_code == 200
    assert collector.client.get("/api/usage/tenant=other", headers=read).status_code == 403
    assert collector.client.get("/api/usage/user=u", headers=read).json()["subject"]["tenant"] == "acme"
    assert collector.client.get("/api/limits", headers=read).status_code == 403


def test_a_key_of_one_tenant_sends_as_that_tenant_from_its_first_span_on(tmp_path: Path) -> None:
    keys = Keys(control(tmp_path))
    senders = Senders(keys)

    def sent_by(tenant: str | None) -> list[str]:
        _, secret = keys.create("sender", ["ingest"], who="tests", tenant=tenant)
        evidence = pl.DataFrame({"api_key_id": [senders.key_id(f"Bearer {secret}")], "tenant": ["claimed"]})
        return senders.with_bound_tenants(evidence)["tenant"].to_list()

    assert [sent_by(tenant) for tenant in ("acme", None, "other")] == [["acme"], ["claimed"], ["other"]]


def test_a_key_of_one_tenant_reads_that_tenants_calls_alone(collector: Running, secrets_of: dict[str, str]) -> None:
    now = Clock(datetime.now(UTC))
    frame = entries(entry(now, tenant="acme"), entry(now, tenant="other"))
    collector.collector.ledger.post(conform(frame), None)
    read = _bearer(secrets_of["acme read"])
    assert collector.client.get("/api/summary", headers=read).json()["totals"]["calls"] == 1
    assert [c["tenant"] for c in collector.client.get("/api/calls", headers=read).json()["calls"]] == ["acme"]
    assert collector.client.get("/api/overview", headers=read).json()["month"]["calls"] == 1
    assert collector.client.get("/api/summary", params={"tenant": "other"}, headers=read).status_code == 403
    assert collector.client.get("/api/summary", headers=_bearer(secrets_of["read"])).json()["totals"]["calls"] == 2


def test_other_machines_are_not_served_without_a_key(collector: Running, tmp_path: Path) -> None:
    class Wide:
        control = control(tmp_path)
        limits = collector.collector.limits
        config = load(None, {}, data=tmp_path)
        config = config.model_copy(update={"settings": Settings(extensions=Extensions(api=Api(endpoint="0.0.0.0:4380")))})

    with pytest.raises(ConfigError, match=r"extensions.api.endpoint.*spanledger keys create"):
        create_app(Wide())  # type: ignore[arg-type]
    Keys(Wide.control).create("first", ["admin"], who="tests")
    create_app(Wide())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:4380", "origin": "http://localhost:4380"}, 200),
        ({"host": "[::1]:4380", "origin": "http://127.0.0.1:3000"}, 200),
        ({"host": "host.docker.internal:4380"}, 200),
        ({"host": "collector"}, 200),
        ({"origin": "https://site.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "127.0.0.1.site.example:4380"}, 403),
        ({"host": "site.example:4380", "origin": "http://site.example:4380"}, 403),
        ({"host": "[::1"}, 403),
    ],
)
def test_without_keys_no_web_page_of_another_site_asks_anything(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    access = Access(Keys(control(tmp_path)))
    checks = Checks(None, access)  # type: ignore[arg-type]
    for _ in range(2):
        assert _status(lambda: permit(access, ("POST", "/api/limits"), headers)) == status
        assert _status(lambda: checks.caller({name.encode(): value.encode() for name, value in headers.items()})) == status
    assert permit(access, ("GET", "/healthz"), headers).name == "public"


def _status(asked: Callable[[], Any]) -> int:
    try:
        asked()
    except Problem as problem:
        return problem.status
    return 200


def test_the_loopback_is_told_from_the_rest() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", ""))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock of access says, and of nothing else in this process."""
    now = [100.0]
    monkeypatch.setattr("spanledger.api.access.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_key_may_ask_only_so_often(tmp_path: Path, now: list[float]) -> None:
    keys = Keys(control(tmp_path))
    headers = _bearer(keys.create("busy", ["check"], who="tests")[1])
    access = Access(keys, requests_per_second=3)
    for _ in range(3):
        access.caller(headers)
    with pytest.raises(Problem) as caught:
        access.caller(headers)
    assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "1")
    now[0] += 0.4
    access.caller(headers)


def test_a_pace_below_one_a_second_lets_one_through_at_a_time(tmp_path: Path, now: list[float]) -> None:
    keys = Keys(control(tmp_path))
    headers = _bearer(keys.create("slow", ["check"], who="tests")[1])
    access = Access(keys, requests_per_second=0.1)
    access.caller(headers)
    with pytest.raises(Problem) as caught:
        access.caller(headers)
    assert caught.value.headers["retry-after"] == "10"
    now[0] += 10.1
    access.caller(headers)


def test_two_keys_of_one_name_are_two_in_the_audit_and_have_a_pace_each(tmp_path: Path) -> None:
    keys = Keys(control(tmp_path))
    access = Access(keys, requests_per_second=1)
    made = [keys.create("checkout", ["check"], who="tests") for _ in range(2)]
    assert [access.caller(_bearer(secret)).name for _, secret in made] == [f"key checkout ({key.id})" for key, _ in made]


def test_a_key_that_expires_stops_opening(tmp_path: Path) -> None:
    clock = Clock()
    keys = Keys(control(tmp_path), clock=clock)
    _, secret = keys.create("brief", ["read"], who="tests", expires_at=clock() + timedelta(seconds=10))
    assert keys.verify(secret) is not None
    clock.pass_(seconds=10)
    assert keys.verify(secret) is None


@pytest.mark.parametrize("end", ["expired", "revoked"])
def test_the_end_of_the_last_key_opens_nothing(end: str, tmp_path: Path) -> None:
    clock = Clock()
    keys = Keys(control(tmp_path), clock=clock)
    read = ("GET", "/api/limits")
    assert permit(Access(keys), read, {}).name == "local"
    key, secret = keys.create("only", ["admin"], who="tests", expires_at=clock() + timedelta(seconds=10))
    if end == "revoked":
        keys.revoke(key.id, who="tests")
    clock.pass_(seconds=10)
    for shown in ({}, _bearer(secret)):
        with pytest.raises(Problem) as caught:
            permit(Access(keys), read, shown)
        assert caught.value.status == 401
    for authorization in ("", f"Bearer {secret}"):
        with pytest.raises(UnknownKey):
            Senders(keys).key_id(authorization)


def test_public_endpoints_need_no_key(collector: Running, secrets_of: dict[str, str]) -> None:
    assert "admin" in secrets_of
    with httpx.Client(base_url=collector.url, timeout=60) as nobody:
        assert nobody.get("/healthz").status_code == 200
        assert nobody.get("/readyz").status_code == 200
        assert nobody.get("/api/nothing").status_code == 404
