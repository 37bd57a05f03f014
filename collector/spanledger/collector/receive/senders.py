"""Who may send: the key of a request, and the tenant that a key is bound to."""

import threading
import time
from collections.abc import Collection

import polars as pl

from spanledger.collector.receive.refused import UnknownKey
from spanledger.control.keys import Keys

_REFRESH_SECONDS = 5.0


class Senders:
    """Until a first key is made whoever reaches a receiver may send; from then on a request needs one with the role ingest."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._tenants: dict[str | None, str | None] = {}
        self._read_at = float("-inf")

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
        if "api_key_id" not in evidence.columns:
            return evidence
        bound = self._tenants_of(evidence["api_key_id"].unique().to_list())
        if not any(bound.values()):
            return evidence
        of_key = pl.col("api_key_id").replace_strict(bound, default=None, return_dtype=pl.String)
        return evidence.with_columns(pl.coalesce(of_key, pl.col("tenant")).alias("tenant"))

    def _tenants_of(self, key_ids: Collection[str | None]) -> dict[str | None, str | None]:
        """Key → tenant, None for all, of these keys at least: one may be made and used before all are looked at anew."""
        with self._lock:
            unknown = any(key_id not in self._tenants for key_id in key_ids)
            if unknown or time.monotonic() - self._read_at > _REFRESH_SECONDS:
                # Revoked ones too: what they sent may still be in the journal.
                self._tenants = dict.fromkeys(key_ids) | {key.id: key.tenant for key in self._keys.all()}
                self._read_at = time.monotonic()
            return self._tenants
