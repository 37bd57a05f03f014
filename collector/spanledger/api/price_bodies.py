"""The bodies of /api/prices, with examples. A rule has none: which fields it may have is in `prices/rule_form.py`."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, create_model

from spanledger.api.models import Body, Name
from spanledger.api.moments import Moment
from spanledger.prices import Call
from spanledger.prices.compare import ABILITIES
from spanledger.prices.meters import METERS
from spanledger.prices.rule_form import RuleError, scope_of
from spanledger.prices.tiers import known_tier
from spanledger.prices.tokens import count_tokens

RULE: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "layer": "contract",
    "scope": "tenant:acme",
    "rates": {"input_mtok": "2.00", "output_mtok": "8.00"},
    "valid_from": "2026-12-01T00:00:00Z",
    "note": "contract of December",
}
CHANGE: dict[str, Any] = {"rates": {"input_mtok": "1.80", "output_mtok": "7.20"}, "note": "volume discount"}


def _belongs(value: Any) -> list[tuple[str, str]]:
    try:
        kind, name = scope_of(str(value or ""))
    except RuleError as error:
        raise ValueError(error.says) from None
    return [] if kind == "all" else [(kind, name)]


def _model(value: Any) -> tuple[str, str]:
    provider, slash, model = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not (provider and slash and model):
        raise ValueError(f"{value!r} should read provider/model, such as openai/gpt-4o")
    return provider, model


def _some(models: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if not models:
        raise ValueError("at least one is needed, such as openai/gpt-4o-mini")
    return models


def _ability(value: Any) -> str:
    if value not in ABILITIES:
        raise ValueError(f"{value!r} is none of {', '.join(ABILITIES)}")
    return str(value)


#: Whom a call is for, as in a rule: `tenant:acme`.
Scope = Annotated[list[tuple[str, str]], BeforeValidator(_belongs)]
Tier = Annotated[Name | None, BeforeValidator(known_tier)]
Model = Annotated[tuple[str, str], BeforeValidator(_model)]
Note = Annotated[str, Field(max_length=2_000, description="why; it stands in the audit")]


class TextBody(Body):
    """A text, and the model that is to read it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "How many tokens?", "model": "gpt-4o"}]})

    text: str
    model: Name = ""


class _Call(Body):
    at: Moment = None
    service_tier: Tier = None
    region: Name | None = None
    variant: Annotated[Name | None, Field(description="quality and size of images: hd/1024x1024")] = None
    scope: Annotated[Scope, Field(default_factory=list, description="whom it is for: tenant:acme, project:x, key:id, tag:a=b")]
    text: Annotated[str | None, Field(description="counted as input")] = None

    def call(self, model: str = "") -> Call:
        """The call that is asked about; a text is counted for `model`."""
        counters = {meter.counter: value for meter in METERS if (value := getattr(self, meter.counter)) is not None}
        if self.text is not None:
            counters["input_tokens"] = counters.get("input_tokens", 0) + count_tokens(self.text, model).tokens
        return Call(
            at=self.at or datetime.now(UTC), counters=counters, service_tier=self.service_tier, region=self.region,
            variant=self.variant, belongs=self.scope,
        )  # fmt: skip


_Whole = Annotated[int | None, Field(strict=True, ge=0, le=10**12)]
_Seconds = Annotated[float | None, Field(strict=True, ge=0, le=10**12)]
_COUNTERS: dict[str, Any] = {meter.counter: (_Seconds if meter.seconds else _Whole, None) for meter in METERS}
_Counted: type[_Call] = create_model("_Counted", __base__=_Call, **_COUNTERS)


class CallBody(_Counted):  # type: ignore[misc,valid-type]
    """A call that may be made. Its counters are the ledger's, parts included in their wholes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"provider": "openai", "model": "gpt-4o", "input_tokens": 1200, "output_tokens": 300}]},
    )

    provider: Name | None = None
    model: Name | None = None


class CompareBody(_Counted):  # type: ignore[misc,valid-type]
    """A call, and what the models must be able to do that it is compared on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"input_tokens": 1200, "output_tokens": 300, "context_window": 100_000, "top": 5}]},
    )

    models: Annotated[list[Model] | None, Field(description="provider/model; all that the books list by default")] = None
    abilities: Annotated[list[Annotated[str, BeforeValidator(_ability)]], Field(default_factory=list)]
    context_window: Annotated[int, Field(ge=0, description="at least")] = 0
    top: Annotated[int, Field(ge=1, le=10_000)] = 20


class InsteadBody(Body):
    """One's own calls, by default those of the last 30 days, and the models to put in place of theirs."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"models": ["openai/gpt-4o-mini"]}]})

    models: Annotated[list[Model], AfterValidator(_some), Field(max_length=100, description="provider/model")]
    since: Moment = None
    until: Moment = None
    provider: Name | None = None
    model: Name | None = None
    tenant: Name | None = None


class RerateBody(Body):
    """Which calls to price anew, by default those of the last 30 days. Without `post` it is a preview."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"since": "2026-11-01T00:00:00Z", "model": "gpt-4o", "post": False}]}
    )

    since: Moment = None
    until: Moment = None
    provider: Annotated[Name | None, Field(description="as telemetry spells it")] = None
    model: Annotated[Name | None, Field(description="as telemetry spells it")] = None
    tenant: Name | None = None
    unpriced_only: Annotated[bool, Field(description="calls of which all or a part has no price")] = False
    post: bool = False
    note: Annotated[Note | None, Field(description="why; needed to post, and stands in the ledger and in the audit")] = None
