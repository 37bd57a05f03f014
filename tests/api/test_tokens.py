"""Tokens of an OpenID Connect issuer: whose are taken, and that an issuer that is slow or away harms nobody else."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from spanledger.api import tokens
from spanledger.api.access import Access, permit
from spanledger.api.problem import Problem
from spanledger.api.tokens import Issuer, MustWait, Tokens
from spanledger.control.keys import Keys
from tests.api.running import running
from tests.limits.made import control, until

READ = ("GET", "/api/limits")


class Id:
    """An issuer: its keys over HTTP while `there` is set, and tokens signed with one of them."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked = 0
        self.status = 200
        self.there = threading.Event()
        self.there.set()
        self.url = ""

    def token(self, key: Any = None, named: str | None = "k", **claims: Any) -> str:
        given = {"iss": "https://id.example", "aud": "spanledger", "sub": "ann", "exp": datetime.now(UTC) + timedelta(minutes=5)}
        return jwt.encode(given | claims, key or self.key, algorithm="RS256", headers={"kid": named} if named else {})

    @property
    def issuer(self) -> Issuer:
        return Issuer(issuer="https://id.example", audience="spanledger", jwks_url=self.url)


@pytest.fixture
def id_(monkeypatch: pytest.MonkeyPatch) -> Generator[Id]:
    monkeypatch.setattr(tokens, "FETCH_SECONDS", 60)  # a machine that stands still is no issuer that does not answer
    with serving(Id()) as up:
        yield up


@contextmanager
def serving(of: Id) -> Generator[Id]:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(of.key.public_key()))
    body = json.dumps({"keys": [{**public, "kid": "k", "use": "sig", "alg": "RS256"}]}).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            of.asked += 1
            of.there.wait(60)
            self.send_response(of.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        of.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield of
        finally:
            of.there.set()
            server.shutdown()
            thread.join()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def status_of(tokens: Tokens, token: str, **more: Any) -> int:
    try:
        tokens.claims(token, **more)
    except Problem as problem:
        return problem.status
    return 200


def test_tokens_of_the_issuer_say_who_and_what_and_others_are_not_taken(tmp_path: Path, id_: Id) -> None:
    access = Access(Keys(control(tmp_path)), issuer=id_.issuer)
    assert permit(access, READ, bearer(id_.token(roles=["read", "emperor"]))).name == "token ann"
    assert access.caller(bearer(id_.token(roles="check read"))).roles == {"check", "read"}
    assert permit(access, ("GET", "/api/summary"), bearer(id_.token(roles=["read"], tenant="acme"))).tenant == "acme"
    ahead = datetime.now(UTC) + timedelta(seconds=3)
    assert permit(access, READ, bearer(id_.token(roles=["read"], iat=ahead, nbf=ahead))).name == "token ann"
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = id_.key.public_key().public_numbers()
    wrong = [
        bearer(id_.token(key=other, roles=["admin"])),
        bearer(id_.token(named="another", roles=["admin"])),
        bearer(id_.token(named=None, roles=["admin"])),
        bearer(id_.token(iss="https://evil.example", roles=["admin"])),
        bearer(id_.token(aud="something else", roles=["admin"])),
        bearer(id_.token(exp=datetime.now(UTC) - timedelta(minutes=5), roles=["admin"])),
        bearer(id_.token(nbf=datetime.now(UTC) + timedelta(minutes=5), roles=["admin"])),
        bearer(id_.token(tenant=["acme"], roles=["read"])),
        bearer(jwt.encode({"sub": "ann", "roles": ["admin"]}, "", algorithm="none", headers={"kid": "k"})),
        bearer(jwt.encode({"sub": "ann", "roles": ["admin"]}, str(public.n).rjust(64), algorithm="HS256", headers={"kid": "k"})),
        bearer("a.b.c"),
        {},
    ]
    for headers in wrong:
        with pytest.raises(Problem) as caught:
            permit(access, READ, headers)
        assert caught.value.status == 401
    with pytest.raises(Problem) as caught:
        permit(access, READ, bearer(id_.token(roles=["check"])))
    assert caught.value.status == 403


def test_a_name_that_the_issuer_does_not_know_asks_it_once_and_not_for_every_token(id_: Id) -> None:
    now = [100.0]
    of = Tokens(id_.issuer, clock=lambda: now[0])
    assert [status_of(of, id_.token(named=f"made up {n}")) for n in range(20)] == [401] * 20
    assert id_.asked == 1
    now[0] += tokens.AGAIN_SECONDS
    assert (status_of(of, id_.token(named="made up")), status_of(of, id_.token()), id_.asked) == (401, 200, 2)


def test_an_issuer_that_is_away_makes_no_token_wrong_and_known_keys_last_for_a_day(id_: Id) -> None:
    now = [100.0]
    of = Tokens(id_.issuer, clock=lambda: now[0])
    id_.status = 500
    assert [status_of(of, id_.token()) for _ in range(3)] == [503] * 3
    assert id_.asked == 1
    id_.status = 200
    now[0] += tokens.AGAIN_SECONDS
    assert status_of(of, id_.token()) == 200
    id_.status = 500
    now[0] += tokens.FRESH_SECONDS
    assert status_of(of, id_.token(), wait=False) == 200
    now[0] += tokens.LAST_SECONDS
    assert status_of(of, id_.token()) == 503
    for thread in threading.enumerate():
        if thread.name == "spanledger issuer":
            thread.join(60)


def test_who_cannot_wait_is_told_so_and_asks_nobody(id_: Id) -> None:
    of = Tokens(id_.issuer)
    with pytest.raises(MustWait):
        of.claims(id_.token(), wait=False)
    assert id_.asked == 0


def test_while_an_issuer_does_not_answer_everybody_else_is_answered(tmp_path: Path, id_: Id) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"extensions: {{api: {{jwt: {{issuer: 'https://id.example', audience: spanledger, jwks_url: '{id_.url}'}}}}}}\n"
    )
    with running(tmp_path / "data", file=file) as up:
        _, secret = Keys(up.collector.control).create("other", ["check"], who="tests")
        id_.there.clear()
        found: list[httpx.Response] = []

        def ask() -> None:
            with httpx.Client(base_url=up.url, timeout=60) as client:
                found.append(client.post("/api/checks", json={}, headers=bearer(id_.token(roles=["check"]))))

        waiting = threading.Thread(target=ask)
        waiting.start()
        until(lambda: id_.asked > 0)
        answer = up.client.post("/api/checks", json={}, headers=bearer(secret))
        assert (answer.status_code, up.client.get("/healthz").status_code, found) == (200, 200, [])
        id_.there.set()
        waiting.join(60)
        assert [one.status_code for one in found] == [200]
