"""Tokens of an OpenID Connect issuer: whether one is its own, by keys that are fetched where somebody may wait for them."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from spanledger.api.problem import Problem

logger = logging.getLogger(__name__)

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
#: Clocks of issuer and collector may be apart by so much.
LEEWAY_SECONDS = 10
FETCH_SECONDS = 5
#: Keys are fetched anew after so long, and no sooner again after a try than this: anybody can make up a key's name.
FRESH_SECONDS, AGAIN_SECONDS = 300.0, 10.0
#: While the issuer is away, keys that it had are taken for so long.
LAST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An OpenID Connect issuer whose tokens are taken: where its keys are, and which claims say role and tenant."""

    issuer: str
    audience: str
    jwks_url: str
    roles_claim: str = "roles"
    tenant_claim: str = "tenant"


class MustWait(Exception):
    """The issuer must be asked first, and whoever asks cannot wait for that."""


class Tokens:
    """Reads an issuer's tokens. Safe to use from several threads, and from an event loop with `wait=False`."""

    def __init__(self, issuer: Issuer, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer, self._clock = issuer, clock
        self._client = jwt.PyJWKClient(issuer.jwks_url, cache_keys=False, cache_jwk_set=False, timeout=FETCH_SECONDS)
        self._fetching = threading.Lock()
        self._keys: Mapping[str, Any] = {}
        self._fetched_at = self._tried_at = float("-inf")

    def claims(self, token: str, *, wait: bool = True) -> Mapping[str, Any]:
        """What a token says. Raises `Problem` 401, 503 while the keys cannot be had, and `MustWait` unless it may wait."""
        try:
            named = jwt.get_unverified_header(token).get("kid")
            key = self._key(named or "", wait)
            if key is None:
                raise _refused(f"its issuer has no key {named!r}")
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self.issuer.audience,
                issuer=self.issuer.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise _refused(str(error)) from None

    def _key(self, named: str, wait: bool) -> Any:
        """The issuer's key of that name; None where it has none."""
        now = self._clock()
        key = self._kept(named)
        if (key is not None and now < self._fetched_at + FRESH_SECONDS) or now < self._tried_at + AGAIN_SECONDS:
            return self._told(key)
        if key is not None:
            if self._fetching.acquire(blocking=False):
                threading.Thread(target=self._fetch_and_release, name="spanledger issuer", daemon=True).start()
            return key
        if not wait:
            raise MustWait
        with self._fetching:
            # Who waited for another's fetch need not make one.
            if self._clock() >= self._tried_at + AGAIN_SECONDS:
                self._fetch()
        return self._told(self._kept(named))

    def _kept(self, named: str) -> Any:
        return self._keys.get(named) if self._clock() < self._fetched_at + LAST_SECONDS else None

    def _told(self, key: Any) -> Any:
        """The key, unless it cannot be told that there is none."""
        if key is None and self._fetched_at < self._tried_at:
            raise Problem(503, "the issuer's keys cannot be fetched now", name="issuer-away",
                          headers={"retry-after": str(int(AGAIN_SECONDS))})  # fmt: skip
        return key

    def _fetch_and_release(self) -> None:
        try:
            self._fetch()
        finally:
            self._fetching.release()

    def _fetch(self) -> None:
        try:
            self._keys = {key.key_id: key for key in self._client.get_signing_keys() if key.key_id}
            self._tried_at = self._fetched_at = self._clock()
        except (jwt.PyJWTError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            logger.warning("the keys of the issuer %s cannot be fetched: %s", self.issuer.issuer, error)
            self._tried_at = self._clock()


def _refused(why: str) -> Problem:
    return Problem(401, f"this token is not taken: {why}", name="unauthorised", headers={"www-authenticate": "Bearer"})
