"""Who may do what: every endpoint's role in one table, and how a caller shows who it is.

Without a single key or issuer, whoever is on this machine may do everything, and the API listens on the loopback only.
"""

import ipaddress
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from spanledger.api.here import from_here
from spanledger.api.problem import Problem
from spanledger.api.tokens import Issuer, Tokens
from spanledger.control.keys import ROLES, Keys

PUBLIC = "public"
#: (method, path as routed) → the role it needs. A test walks it: an endpoint that is not here is refused to all.
ROLE_OF: Mapping[tuple[str, str], str] = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/api/health"): PUBLIC,
    ("GET", "/api/version"): PUBLIC,
    ("GET", "/metrics"): "read",
    ("GET", "/api/openapi.json"): "read",
    ("GET", "/api/docs"): "read",
    ("POST", "/api/checks"): "check",
    ("DELETE", "/api/holds/{hold_id}"): "check",
    ("POST", "/api/holds/{hold_id}/settle"): "check",
    ("POST", "/api/holds/{hold_id}/extend"): "check",
    ("GET", "/api/usage"): "read",
    ("GET", "/api/usage/{subject:path}"): "read",
    ("GET", "/api/limits"): "read",
    ("POST", "/api/limits"): "admin",
    ("GET", "/api/limits/{limit_id}"): "read",
    ("PATCH", "/api/limits/{limit_id}"): "admin",
    ("DELETE", "/api/limits/{limit_id}"): "admin",
    ("POST", "/api/limits/{limit_id}/grants"): "admin",
    ("POST", "/api/limits/{limit_id}/resets"): "admin",
    ("POST", "/api/limits/backtest"): "read",
    ("GET", "/api/limits/{limit_id}/backtest"): "read",
    ("GET", "/api/grants"): "read",
    ("DELETE", "/api/grants/{grant_id}"): "admin",
    ("GET", "/api/tiers"): "read",
    ("POST", "/api/tiers"): "admin",
    ("GET", "/api/tiers/{tier_id}"): "read",
    ("PATCH", "/api/tiers/{tier_id}"): "admin",
    ("DELETE", "/api/tiers/{tier_id}"): "admin",
    ("POST", "/api/tiers/{tier_id}/members"): "admin",
    ("GET", "/api/pauses"): "read",
    ("POST", "/api/pauses"): "admin",
    ("DELETE", "/api/pauses/{pause_id}"): "admin",
    ("GET", "/api/audit"): "admin",
    ("GET", "/api/keys"): "admin",
    ("POST", "/api/keys"): "admin",
    ("DELETE", "/api/keys/{key_id}"): "admin",
    ("GET", "/api/prices"): "read",
    ("POST", "/api/prices"): "admin",
    ("GET", "/api/prices/show"): "read",
    ("GET", "/api/prices/unpriced"): "read",
    ("GET", "/api/prices/reported"): "read",
    ("GET", "/api/prices/known"): "read",
    ("POST", "/api/prices/rerate"): "admin",
    ("POST", "/api/prices/monthly"): "admin",
    ("POST", "/api/prices/books/diff"): "read",
    ("POST", "/api/prices/books"): "admin",
    ("DELETE", "/api/prices/books/{name}"): "admin",
    ("POST", "/api/prices/tokens"): "read",
    ("POST", "/api/prices/cost"): "read",
    ("POST", "/api/prices/compare"): "read",
    ("POST", "/api/prices/instead"): "read",
    ("GET", "/api/prices/{rule_id}"): "read",
    ("PATCH", "/api/prices/{rule_id}"): "admin",
    ("GET", "/api/prices/{rule_id}/history"): "read",
    ("GET", "/api/summary"): "read",
    ("GET", "/api/overview"): "read",
    ("GET", "/api/calls"): "read",
    ("GET", "/api/assumptions"): "read",
    ("GET", "/api/missing"): "read",
}

#: What a caller that speaks for one tenant may use: these look at that tenant alone.
PER_TENANT = frozenset(
    {
        ("POST", "/api/checks"),
        ("DELETE", "/api/holds/{hold_id}"),
        ("POST", "/api/holds/{hold_id}/settle"),
        ("POST", "/api/holds/{hold_id}/extend"),
        ("GET", "/api/usage"),
        ("GET", "/api/usage/{subject:path}"),
        ("GET", "/api/summary"),
        ("GET", "/api/overview"),
        ("GET", "/api/calls"),
    }
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `name` goes into the audit, `tenant` is the only one it speaks for."""

    name: str
    roles: frozenset[str]
    tenant: str | None = None

    def may(self, role: str) -> bool:
        """Whether it has a role; an admin has all."""
        return role in self.roles or "admin" in self.roles


LOCAL = Caller("local", frozenset(ROLES))


class Access:
    """Tells callers by key or token, and lets each ask so often."""

    def __init__(self, keys: Keys, *, issuer: Issuer | None = None, requests_per_second: float = 0) -> None:
        self._keys = keys
        self._tokens = None if issuer is None else Tokens(issuer)
        self._rate = requests_per_second
        self._lock = threading.Lock()
        self._spent: dict[str, tuple[float, float]] = {}
        self._open, self._open_until, self._open_at = False, 0.0, -1

    @property
    def open_to_all(self) -> bool:
        """Whether nothing needs to be shown: no key was ever made, and no issuer. Other processes' keys are seen in a second."""
        now, generation = time.monotonic(), self._keys.generation
        if now >= self._open_until or generation != self._open_at:
            self._open = self._tokens is None and not self._keys.any_made()
            self._open_until, self._open_at = now + 1, generation
        return self._open

    def caller(self, headers: Mapping[str, str], *, wait: bool = True) -> Caller:
        """Who asks. Raises `Problem` 401, 429 when it asks too often, or 503 while its issuer cannot be asked; and `MustWait`
        where that must be asked first and the caller of this may not wait, as an event loop may not."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not token:
            raise _unknown("a key is needed: Authorization: Bearer slk_…")
        key = self._keys.verify(token)
        if key is not None:
            # Two keys may have one name.
            caller = Caller(f"key {key.name} ({key.id})", key.roles, key.tenant)
        elif self._tokens is not None and token.count(".") == 2:
            caller = self._of_token(token, self._tokens, wait)
        else:
            raise _unknown("this key is unknown, revoked or expired")
        self._pace(caller.name)
        return caller

    def _of_token(self, token: str, tokens: Tokens, wait: bool) -> Caller:
        issuer, claims = tokens.issuer, tokens.claims(token, wait=wait)
        given = claims.get(issuer.roles_claim, [])
        roles = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        tenant = claims.get(issuer.tenant_claim)
        if tenant is not None and not isinstance(tenant, str):
            raise _unknown(f"the claim {issuer.tenant_claim} is not a text")
        return Caller(f"token {claims['sub']}", frozenset(r for r in roles if r in ROLES), tenant)

    def _pace(self, name: str) -> None:
        """A second's worth of requests, or one, may come at once; after that, so many a second."""
        if self._rate <= 0:
            return
        now = time.monotonic()
        with self._lock:
            most = max(self._rate, 1.0)
            left, at = self._spent.get(name, (most, now))
            left = min(most, left + (now - at) * self._rate)
            if left < 1:
                wait = str(math.ceil((1 - left) / self._rate))
                raise Problem(
                    429, f"more than {self._rate:g} requests a second", name="too-many-requests", headers={"retry-after": wait}
                )
            self._spent[name] = (left - 1, now)


def authorise(request: Request) -> None:
    """FastAPI's dependency on every route: who asks, whether it may, and for which tenant."""
    route: Any = request.scope.get("route")
    endpoint = (request.method, getattr(route, "path", request.url.path))
    request.state.caller = permit(request.app.state.access, endpoint, request.headers)
    request.state.who = request.state.caller.name


def permit(access: Access, endpoint: tuple[str, str], headers: Mapping[str, str], *, wait: bool = True) -> Caller:
    """The caller, if it may use an endpoint. Raises `Problem` 403 and as `Access.caller` does."""
    role = ROLE_OF.get(endpoint)
    if role == PUBLIC:
        return Caller("public", frozenset())
    if role is not None and access.open_to_all:
        from_here(headers.get("host"), headers.get("origin"))
        return LOCAL
    caller = access.caller(headers, wait=wait)
    if role is None or not caller.may(role):
        raise Problem(403, f"{caller.name} has not the role {role or 'for this'}", name="forbidden")
    if caller.tenant is not None and endpoint not in PER_TENANT:
        raise Problem(403, f"{caller.name} speaks for tenant {caller.tenant!r} only", name="forbidden")
    return caller


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host in ("localhost", ""):
        return host == "localhost"
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unknown(text: str) -> Problem:
    return Problem(401, text, name="unauthorised", headers={"www-authenticate": "Bearer"})
