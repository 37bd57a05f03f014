"""Who may send: the key of a request, and the tenant that a key is bound to."""

import threading
import time

import polars as pl

from spanledger.collector.receive.refused import UnknownKey
from spanledger.control.keys import Keys

_REFRESH_SECONDS = 5.0


class Senders:
    """Until a first key is made whoever reaches a receiver may send; from then on a request needs one with the role ingest."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._bound: dict[str, str] = {}
        self._bound_at = float("-inf")

    def key_id(self, authorization: str) -> str:
        """The id of the key in an Authorization header; raises `UnknownKey`."""
        if not self._keys.any_made():
            return ""
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise UnknownKey("this collector wants a key: send the header `Authorization: Bearer slk_…`")
        key = self._keys.verify(secret.strip())
        if key is None or not key.may("ingest"):
            raise UnknownKey("the key is not known, is no longer valid, or may not send telemetry")
        return key.id

    def with_bound_tenants(self, evidence: pl.DataFrame) -> pl.DataFrame:
        """Where a key is bound to a tenant, that tenant stands, whatever the telemetry claims."""
        bound = self._bound_tenants()
        if not bound or "api_key_id" not in evidence.columns:
            return evidence
        of_key = pl.col("api_key_id").replace_strict(bound, default=None, return_dtype=pl.String)
        return evidence.with_columns(pl.coalesce(of_key, pl.col("tenant")).alias("tenant"))

    def _bound_tenants(self) -> dict[str, str]:
        with self._lock:
            if time.monotonic() - self._bound_at > _REFRESH_SECONDS:
                # Revoked ones too: what they sent may still be in the journal.
                self._bound = {key.id: key.tenant for key in self._keys.all() if key.tenant is not None}
                self._bound_at = time.monotonic()
            return self._bound
