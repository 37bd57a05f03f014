"""The bodies of the REST API. They live at this border only; inside, a check is a `Check` and a limit a `Limit`."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, LiteralString, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from spanledger.limits.check import LEASE_SECONDS, LONGEST_LEASE, LONGEST_NAME, LONGEST_WAIT_MS, MOST_TAGS, MOST_TOKENS

_NOT_KEPT = re.compile("[\0\ud800-\udfff]")
_NOT_TEXT = "has NUL or half of a character in it, such as \\ud83d"
#: No body needs as many lists and objects inside of each other; Python follows a thousand.
_DEEPEST = 32

Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]


class Body(BaseModel):
    """A key that it does not know is an error, not a typo that goes unnoticed."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _can_be_kept(cls, given: Any) -> Any:
        return whole(given)


def whole(given: Any) -> Any:
    """The body. Raises where it has half of a character, as JSON may ("\\ud83d"), which no answer can show again, or NUL, which
    PostgreSQL does not keep, or is nested deeper than anybody looks."""
    if (wrong := _wrong(given)) is not None:
        raise PydanticCustomError("not_kept", wrong[1], {"field": wrong[0]})
    return given


def _wrong(given: Any, at: str = "", depth: int = 0) -> tuple[str, LiteralString] | None:
    """Where in a body stands what nobody can keep, and what; None where there is nothing of it."""
    if isinstance(given, str):
        return (at or "body", _NOT_TEXT) if _NOT_KEPT.search(given) else None
    if not isinstance(given, Mapping | list):
        return None
    if depth > _DEEPEST:
        return at or "body", "is nested too deep"
    if isinstance(given, list):
        return next((found for one in given if (found := _wrong(one, at, depth + 1)) is not None), None)
    for name, value in given.items():
        shown = str(name).encode("utf-8", "replace").decode().replace("\0", "?")
        there = f"{at}.{shown}" if at else shown
        if (found := _wrong(name, there) or _wrong(value, there, depth + 1)) is not None:
            return found
    return None


class CheckBody(Body):
    """May this call go ahead? Everything is optional; what is not given is covered by limits as "not given"."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "tenant": "acme",
                    "user": "u-17",
                    "provider": "openai",
                    "model": "gpt-4o",
                    "operation": "chat",
                    "input_tokens": 1200,
                    "max_output_tokens": 500,
                    "wait_ms": 500,
                }
            ]
        },
    )

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
    trace: Annotated[Name | None, Field(description="trace id, for limits per trace")] = None
    tags: Annotated[dict[Name, Name], Field(max_length=MOST_TAGS, default_factory=dict)]
    input_tokens: Annotated[Tokens | None, Field(description="cached ones included")] = None
    max_output_tokens: Tokens | None = None
    service_tier: Name | None = None
    lease_seconds: Annotated[int, Field(ge=1, le=LONGEST_LEASE, description="an unsettled hold is released after it")] = (
        LEASE_SECONDS
    )
    wait_ms: Annotated[int, Field(ge=0, le=LONGEST_WAIT_MS, description="wait so long for holds to settle before refusing")] = 0
    dry_run: Annotated[bool, Field(description="answer, but hold nothing")] = False

    @model_validator(mode="before")
    @classmethod
    def _can_be_kept(cls, given: Any) -> Any:
        # Nothing of it is kept. Many clients write null for what they do not give.
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class SettleBody(Body):
    """What the call used. Tokens are priced as the check was; the arriving entry replaces all of it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"input_tokens": 1180, "output_tokens": 230}]})

    cost_usd: Annotated[str | None, Field(pattern=r"^\d{1,8}(\.\d{1,12})?$", description="dollars, as a string")] = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.cost_usd is None and self.input_tokens is None and self.output_tokens is None:
            raise ValueError(
                "say what the call used: input_tokens and output_tokens, or cost_usd; release a hold that used nothing"
            )
        return self


class ExtendBody(Body):
    """The new length of the lease, from now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lease_seconds": 600}]})

    lease_seconds: Annotated[int, Field(ge=1, le=LONGEST_LEASE)] = LEASE_SECONDS


class HoldAnswer(Body):
    """What became of a hold."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"hold_id": "3f0c2d6a9b1e4c7f8a5d2e1b0c9f8e7d", "state": "held", "expires_at": "2026-11-25T12:20:00Z"}]
        },
    )

    hold_id: str
    state: Annotated[str, Field(description="released, settled or held")]
    expires_at: datetime | None = None


class LimitBody(Body):
    """A limit as it is written; `GET` answers with the same fields and how it stands."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "acme per month",
                    "selectors": {"tenant": ["acme"]},
                    "measure": "cost_usd",
                    "amount": "500.00",
                    "window": {"kind": "calendar", "unit": "month", "zone": "Europe/Berlin"},
                    "hard": True,
                },
                {
                    "name": "tokens per user and hour",
                    "per": ["user"],
                    "measure": "tokens",
                    "amount": "100000",
                    "window": {"kind": "rolling", "seconds": 3600},
                },
            ]
        },
    )

    name: Any = None
    description: Any = None
    selectors: Annotated[Any, Field(description="dimension → values; `abc*` is a prefix, `*` any value; all must match")] = None
    per: Annotated[Any, Field(description="each distinct value of these dimensions has a bucket of its own")] = None
    measure: Annotated[Any, Field(description="cost_usd, tokens, input_tokens, output_tokens or requests")] = None
    amount: Any = None
    window: Annotated[Any, Field(description='calendar, rolling or lifetime; short forms: "month", "rolling 1h"')] = None
    hard: Any = None
    enabled: Any = None
    action: Annotated[Any, Field(description="refuse, pause, warn or shadow")] = None
    grace: Annotated[Any, Field(description="share of the amount that may be used beyond it, with a warning")] = None
    thresholds: Annotated[Any, Field(description="shares of the amount from which on checks warn")] = None
    pause_at: Annotated[Any, Field(description="share of the amount at which action pause pauses the subject")] = None
    unpriced: Annotated[Any, Field(description="models without a price: allow, ceiling or refuse")] = None
    ceiling_usd_per_mtok: Any = None
    on_failure: Annotated[Any, Field(description="open or closed, when counters are away")] = None
    hold: Annotated[Any, Field(description="worst_case, learned or fixed")] = None
    quantile: Annotated[Any, Field(description="of what calls like it have cost, for learned holds")] = None
    hold_amount: Annotated[Any, Field(description="for fixed holds")] = None
    overshoot: Annotated[Any, Field(description="how far holds smaller than the worst case may let it be passed")] = None
    rollover: Annotated[Any, Field(description="share of the amount that an unused rest carries into the next window")] = None
    tier: Any = None
    valid_from: Any = None
    valid_to: Any = None
    reason: Annotated[str | None, Field(max_length=2_000, description="why, for the audit")] = None

    def given(self) -> dict[str, Any]:
        """The fields that the sender gave, without the reason."""
        return self.model_dump(exclude_unset=True, exclude={"reason"})
