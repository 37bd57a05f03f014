"""The question "may this call go ahead?" and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from spanledger.ledger import providers
from spanledger.limits.window import moment

LEASE_SECONDS = 600
LONGEST_LEASE = 86_400
LONGEST_WAIT_MS = 10_000
LONGEST_NAME = 1_000
#: The collector cuts names here (and tags there), and takes these for nothing; a test compares.
LONGEST_KEPT, LONGEST_TAG, LONGEST_TAGGED = 512, 128, 256
NOT_GIVEN = frozenset(["", "none", "None", "null", "NaN", "nan", "-1", "undefined"])
MOST_TAGS = 1_000
MOST_TOKENS = 10**12

Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
Tokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]


def as_kept(dimension: str, value: str | None) -> str | None:
    """A name as the ledger will have it, or a call would be held in one bucket and counted in another."""
    if value is None:
        return None
    if dimension.startswith("tag."):
        return _tag(value)
    kept = _name(value)
    return providers.provider(kept) if dimension == "provider" and kept else kept


def pattern_as_kept(dimension: str, pattern: str) -> str:
    """What selects the names that `as_kept` gives: a prefix stays as it is, and so does what is no name."""
    return pattern if pattern.endswith("*") else as_kept(dimension, pattern) or pattern


def _name(value: str) -> str | None:
    return None if value in NOT_GIVEN else value[:LONGEST_KEPT]


def _tag(value: str) -> str:
    return value.strip('"')[:LONGEST_TAGGED]


class Check(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Whose call, of which model, and how large it may become. What is not given is None.

    The bounds hold where it is read from JSON; code may make any.
    """

    tenant: Name | None = None
    project: Name | None = None
    user: Name | None = None
    agent: Name | None = None
    session: Name | None = None
    environment: Name | None = None
    service: Name | None = None
    operation: Name | None = None
    provider: Name | None = None
    model: Name | None = None
    trace: Name | None = None
    tags: Annotated[dict[Name, Name], Meta(max_length=MOST_TAGS)] = {}
    input_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    service_tier: Name | None = None
    lease_seconds: Annotated[int, Meta(ge=1, le=LONGEST_LEASE)] = LEASE_SECONDS
    wait_ms: Annotated[int, Meta(ge=0, le=LONGEST_WAIT_MS)] = 0
    dry_run: bool = False

    @property
    def payee(self) -> str | None:
        """Who is paid, as the entry of the call will name it; where the check does not say, whose model it is."""
        return providers.payee(self.provider, self.model)

    def subject(self) -> dict[str, str | None]:
        """Dimension → value, tags as `tag.<key>`; all of them as the ledger will have them."""
        subject = {
            "tenant": self.tenant,
            "project": self.project,
            "user": self.user,
            "agent": self.agent,
            "session": self.session,
            "environment": self.environment,
            "service": self.service,
            "operation": self.operation,
            "provider": self.payee,
            "model": self.model,
            "trace": self.trace,
        }
        for name, value in subject.items():
            if value is not None:
                subject[name] = _name(value)
        for key, value in self.tags.items():
            subject[f"tag.{key[:LONGEST_TAG]}"] = _tag(value)
        return subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one limit stands for the subject of a check. Amounts are texts in the limit's measure."""

    limit_id: str
    limit: str
    scope: str
    measure: str
    used: str
    held: str
    amount: str
    remaining: str
    requested: str
    window_start: datetime
    window_end: datetime | None
    window_seconds: int | None
    reset_seconds: int | None
    fraction: float
    says: str
    fits: Mapping[str, str] = field(default_factory=dict)
    price_confidence: str = "priced"
    retry_after_seconds: int = 0
    pause_id: str | None = None


class Verdict(Struct, frozen=True, gc=False):
    """`allow` and `warn` leave a hold; `refuse` says why in `refused`, the strictest limit first.

    `lease_end` is in microseconds since 1970. With `counters_away` nothing was tested or held: each limit's own `on_failure`
    decided.
    """

    verdict: Literal["allow", "warn", "refuse"]
    hold_id: str | None = None
    lease_end: int | None = None
    warnings: tuple[Standing, ...] = ()
    refused: tuple[Standing, ...] = ()
    counters_away: bool = False

    @property
    def expires_at(self) -> datetime | None:
        """When the hold is released unless its call is settled or its lease extended."""
        return None if self.lease_end is None else moment(self.lease_end)

    @property
    def allowed(self) -> bool:
        return self.verdict != "refuse"
