"""The question "may this call go ahead?" and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

LEASE_SECONDS = 600
LONGEST_LEASE = 86_400
LONGEST_WAIT_MS = 10_000


# Not frozen: setting eighteen fields past the lock of a frozen class is a twentieth of what a whole check takes.
@dataclass(slots=True, kw_only=True)
class Check:
    """Whose call, of which model, and how large it may become. What is not given is None. It is never changed."""

    tenant: str | None = None
    project: str | None = None
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    environment: str | None = None
    service: str | None = None
    operation: str | None = None
    provider: str | None = None
    model: str | None = None
    trace: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    input_tokens: int | None = None
    max_output_tokens: int | None = None
    service_tier: str | None = None
    lease_seconds: int = LEASE_SECONDS
    wait_ms: int = 0
    dry_run: bool = False

    def subject(self) -> dict[str, str | None]:
        """Dimension → value, tags as `tag.<key>`."""
        subject = {
            "tenant": self.tenant,
            "project": self.project,
            "user": self.user,
            "agent": self.agent,
            "session": self.session,
            "environment": self.environment,
            "service": self.service,
            "operation": self.operation,
            "provider": self.provider,
            "model": self.model,
            "trace": self.trace,
        }
        for key, value in self.tags.items():
            subject[f"tag.{key}"] = value
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


class Verdict(NamedTuple):
    """`allow` and `warn` leave a hold; `refuse` says why in `refused`, the strictest limit first.

    With `counters_away` nothing was tested or held: each limit's own `on_failure` decided.
    """

    verdict: Literal["allow", "warn", "refuse"]
    hold_id: str | None = None
    expires_at: datetime | None = None
    warnings: tuple[Standing, ...] = ()
    refused: tuple[Standing, ...] = ()
    counters_away: bool = False

    @property
    def allowed(self) -> bool:
        return self.verdict != "refuse"
