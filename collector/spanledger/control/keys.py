"""API keys: made once and shown once, kept as hashes, told apart by their first characters.

A key is 256 random bits, so a plain SHA-256 of it cannot be guessed back; nothing slower is needed.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from spanledger.control.database import Control
from spanledger.control.tables import keys

Role = Literal["ingest", "check", "read", "admin"]
ROLES: tuple[str, ...] = get_args(Role)
START = "slk_"
SHOWN = 12
#: As wide as the column, which PostgreSQL insists on.
LONGEST_TENANT = 200
#: `last_used_at` is written at most so often; it is for finding keys that nobody uses, not for billing.
TOUCH_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key without its secret. `admin` may do everything the other roles may."""

    id: str
    name: str
    prefix: str
    roles: frozenset[str]
    tenant: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def may(self, role: str) -> bool:
        """Whether it has a role."""
        return role in self.roles or "admin" in self.roles

    def is_active(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Keys:
    """The keys of a control database. Thread-safe; keys made elsewhere are known after a moment."""

    REFRESH_SECONDS = 5

    def __init__(self, control: Control, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._control = control
        self._clock = clock
        self._lock = threading.Lock()
        self._by_hash: dict[str, Key] = {}
        self._read_at: datetime | None = None
        self._touched: dict[str, datetime] = {}
        self.generation = 0  # grows with every change that this process makes

    def create(
        self,
        name: str,
        roles: Iterable[str],
        *,
        who: str,
        tenant: str | None = None,
        expires_at: datetime | None = None,
        why: str | None = None,
    ) -> tuple[Key, str]:
        """Make a key; the second value is the secret, which is nowhere to be had again. Raises `ValueError`."""
        wanted = sorted(set(roles))
        if not name.strip() or len(name) > 200:
            raise ValueError("name: must be a text of 1 to 200 characters")
        if not wanted or any(role not in ROLES for role in wanted):
            raise ValueError(f"roles: must be some of {', '.join(ROLES)}")
        if tenant is not None and not (tenant.strip() and len(tenant) <= LONGEST_TENANT):
            raise ValueError(f"tenant: must be a text of 1 to {LONGEST_TENANT} characters; leave it out for a key of all tenants")
        if tenant is not None and "admin" in wanted:
            raise ValueError("tenant: an admin key speaks for every tenant")
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise ValueError("expires_at: must be later than now")
        secret = START + secrets.token_urlsafe(32)
        row: dict[str, Any] = {
            "id": f"key_{secrets.token_hex(8)}",
            "name": name,
            "prefix": secret[:SHOWN],
            "hash": _hash(secret),
            "roles": wanted,
            "tenant": tenant,
            "created_at": now,
            "expires_at": expires_at,
        }
        with self._control.change(who=who, why=why) as change:
            made = change.insert(keys, row)
        self._forget()
        return _key(made), secret

    def all(self) -> list[Key]:
        """All keys, also those that are revoked or expired, oldest first."""
        return sorted((_key(row) for row in self._control.rows(keys)), key=lambda key: key.created_at)

    def revoke(self, key_id: str, *, who: str, why: str | None = None) -> Key:
        """From now on the key opens nothing. Raises `NotFound`."""
        with self._control.change(who=who, why=why) as change:
            row = change.update(keys, key_id, {"revoked_at": self._clock()})
        self._forget()
        return _key(row)

    def any_made(self) -> bool:
        """Whether a key was ever made: until then, the loopback is open to whoever is on the machine.

        A key that was revoked or has expired counts: an end of a key must not open a door.
        """
        return bool(self._known())

    def verify(self, secret: str) -> Key | None:
        """The active key with this secret; None when there is none."""
        key = self._known().get(_hash(secret))
        now = self._clock()
        if key is None or not key.is_active(now):
            return None
        self._touch(key, now)
        return key

    def _known(self) -> dict[str, Key]:
        now = self._clock()
        with self._lock:
            fresh = self._read_at is not None and abs((now - self._read_at).total_seconds()) < self.REFRESH_SECONDS
            if fresh:
                return self._by_hash
        found = {row["hash"]: _key(row) for row in self._control.rows(keys)}
        with self._lock:
            self._by_hash, self._read_at = found, now
            return found

    def _forget(self) -> None:
        with self._lock:
            self._read_at = None
            self.generation += 1

    def _touch(self, key: Key, now: datetime) -> None:
        with self._lock:
            last = self._touched.get(key.id)
            if last is not None and (now - last).total_seconds() < TOUCH_SECONDS:
                return
            self._touched[key.id] = now
        # Not a change of the key, so not one for the audit.
        with self._control.engine.begin() as connection:
            connection.execute(keys.update().where(keys.c.id == key.id).values(last_used_at=now))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: dict[str, Any]) -> Key:
    return Key(**{name: value for name, value in row.items() if name != "hash"} | {"roles": frozenset(row["roles"])})
