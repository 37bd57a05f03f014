"""POST /api/checks and the life of holds.

`Checks` answers checks however they come: from the route below, or from `check_connection.py`, which reads them off the
connection before a request of ASGI is made.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import Field, TypeAdapter, ValidationError
from starlette.responses import Response

from spanledger.api.access import LOCAL, Access, Caller, permit
from spanledger.api.check_examples import ANSWERS
from spanledger.api.models import CheckBody, ExtendBody, HoldAnswer, SettleBody
from spanledger.api.problem import MEDIA_TYPE, TYPE, Problem, wrong_fields
from spanledger.limits import Check, Limits, Standing, Verdict

router = APIRouter(tags=["checks"])

PATH = "/api/checks"
LARGEST_BODY = 1024 * 1024
JSON = "application/json"
MANY = 1_000


_ONE = TypeAdapter(CheckBody)
_MANY = TypeAdapter(Annotated[list[CheckBody], Field(min_length=1, max_length=MANY)])
Answered = tuple[int, dict[str, str], bytes]


class Checks:
    """Answers the bodies of POST /api/checks, over whichever way they came."""

    def __init__(self, limits: Limits, access: Access) -> None:
        self._limits = limits
        self._access = access

    def caller(self, headers: Callable[[], Mapping[str, str]]) -> Caller:
        """Who asks. `headers` are only read when someone must say so. Raises `Problem`."""
        return LOCAL if self._access.open_to_all else permit(self._access, ("POST", PATH), headers())

    def at_once(self, body: bytes, caller: Caller) -> Answered | None:
        """The answer to one check that needs to wait for nothing; None where it does. Raises `Problem`."""
        if self._limits.waits or body[:1] != b"{":
            return None
        verdict = self._limits.ask_at_once(_check(body, caller))
        return None if verdict is None else self._answered(verdict)

    async def answer(self, body: bytes, caller: Caller) -> Answered:
        """Status, headers and body for one check, or for a list of them. Raises `Problem`."""
        if body.lstrip()[:1] != b"[":
            return self._answered(await self._limits.ask(_check(body, caller)))
        try:
            asked = _MANY.validate_json(body)
        except ValidationError as error:
            raise wrong_fields(error.errors()) from None
        checks = [_of_caller(one, caller) for one in asked]
        verdicts = [await self._limits.ask(check) for check in checks]
        return 200, {"content-type": JSON}, orjson.dumps([_refused(v) if v.refused else self._passed(v) for v in verdicts])

    def take_back(self, answered: Answered) -> None:
        """Release what an answer holds that its caller never got."""
        told = orjson.loads(answered[2])
        for one in told if isinstance(told, list) else [told]:
            if hold_id := one.get("hold_id"):
                self._limits.release(hold_id)

    def _answered(self, verdict: Verdict) -> Answered:
        if verdict.refused:
            first = verdict.refused[0]
            headers = {"content-type": MEDIA_TYPE, "retry-after": str(first.retry_after_seconds)} | _rate_limit(verdict.refused)
            return 429, headers, orjson.dumps(_refused(verdict))
        headers = {"content-type": JSON}
        if verdict.warnings:
            headers["spanledger-warning"] = "; ".join(_ascii(w.says) for w in verdict.warnings)[:1000]
        return 200, headers, orjson.dumps(self._passed(verdict))

    def _passed(self, verdict: Verdict) -> dict[str, Any]:
        """The body of 200. `dimensions` are those that some limit looks at: calls that differ in others are alike."""
        body: dict[str, Any] = {
            "verdict": verdict.verdict,
            "hold_id": verdict.hold_id,
            "expires_at": verdict.expires_at,
            "warnings": [_standing(warning) for warning in verdict.warnings],
            "dimensions": self._limits.covering.looks_at,
        }
        if verdict.counters_away:
            body["counters_away"] = True
        return body


def _check(body: bytes, caller: Caller) -> Check:
    try:
        return _of_caller(_ONE.validate_json(body), caller)
    except ValidationError as error:
        raise wrong_fields(error.errors()) from None


def _of_caller(body: CheckBody, caller: Caller) -> Check:
    """The check, for the tenant that its caller speaks for."""
    if caller.tenant is not None and body.tenant != caller.tenant:
        if body.tenant is not None:
            raise Problem(403, f"{caller.name} speaks for tenant {caller.tenant!r} only", name="forbidden")
        body.tenant = caller.tenant
    return Check(**body.__dict__)


def _refused(verdict: Verdict) -> dict[str, Any]:
    """The body of 429: the limit that stands in the way longest, and the others in `also`."""
    first, *others = verdict.refused
    paused = first.pause_id is not None
    return {
        "type": f"{TYPE}{'paused' if paused else 'limit-reached'}",
        "title": "Paused" if paused else "A limit is reached",
        "status": 429,
        "detail": first.says,
        "verdict": "refuse",
        "request_id": secrets.token_hex(8),
        **_standing(first),
        "retry_after_seconds": first.retry_after_seconds,
        "counters_away": verdict.counters_away,
        "also": [_standing(other) for other in others],
    }


def _rate_limit(refused: Sequence[Standing]) -> dict[str, str]:
    """RateLimit headers of the IETF's draft; money is in millionths of a dollar, since quotas there are whole numbers."""
    policies, states = [], []
    for one in refused:
        name = '"' + _ascii(one.limit).replace("\\", "/").replace('"', "'") + '"'
        scale, unit = (1_000_000, ';qu="usd-millionths"') if one.measure == "cost_usd" else (1, f';qu="{one.measure}"')
        window = f";w={one.window_seconds}" if one.window_seconds else ""
        policies.append(f"{name};q={_whole(one.amount, scale)}{window}{unit}")
        reset = one.reset_seconds if one.reset_seconds is not None else one.retry_after_seconds
        states.append(f"{name};r={_whole(one.remaining, scale)};t={reset}")
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}


def _whole(amount: str, scale: int) -> int:
    """A header's number has fifteen digits at most (RFC 9651)."""
    return min(int(Decimal(amount) * scale), 10**15 - 1)


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "limit": one.limit,
        "limit_id": one.limit_id,
        "scope": one.scope,
        "measure": one.measure,
        "used": one.used,
        "held": one.held,
        "amount": one.amount,
        "remaining": one.remaining,
        "requested": one.requested,
        "window_start": one.window_start,
        "window_end": one.window_end,
        "fits": one.fits,
        "price_confidence": one.price_confidence,
        "pause_id": one.pause_id,
        "says": one.says,
    }


def _ascii(text: str) -> str:
    """What a header may carry; a name of a limit may have anything in it."""
    return "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)


_SCHEMA = CheckBody.model_json_schema()
_SCHEMA = {"oneOf": [_SCHEMA, {"type": "array", "items": _SCHEMA, "maxItems": MANY}]}


@router.post(
    PATH,
    summary="May this call go ahead?",
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": _SCHEMA}}}},
    responses=ANSWERS,
)
async def check(request: Request) -> Response:
    """One atomic step over all limits of the call. A call that may go ahead leaves a hold, which its span settles.

    A list of checks gets a list of answers, with 200: each is one step of its own, and a refusal among them has the body
    that it would have alone.
    """
    checks: Checks = request.app.state.checks
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise Problem(413, "the body is at most a mebibyte")
    status, headers, answered = await checks.answer(body, request.state.caller)
    return Response(answered, status, headers)


@router.delete("/api/holds/{hold_id}", summary="Release a hold")
def release(hold_id: str, request: Request) -> HoldAnswer:
    """For a call that was not made or cost nothing. 404 when it is already settled, released or expired."""
    if not _own(hold_id, request).release(hold_id):
        raise _gone(hold_id)
    return HoldAnswer(hold_id=hold_id, state="released")


@router.post("/api/holds/{hold_id}/settle", summary="Settle a hold by hand")
def settle(hold_id: str, body: SettleBody, request: Request) -> HoldAnswer:
    """Shrink the hold to what the call used, at once; the span that arrives later replaces it and is counted once."""
    cost = None if body.cost_usd is None else Decimal(body.cost_usd)
    limits = _own(hold_id, request)
    if not limits.settle(hold_id, cost_usd=cost, input_tokens=body.input_tokens, output_tokens=body.output_tokens):
        raise _gone(hold_id)
    return HoldAnswer(hold_id=hold_id, state="settled")


@router.post("/api/holds/{hold_id}/extend", summary="Lengthen a hold's lease")
def extend(hold_id: str, body: ExtendBody, request: Request) -> HoldAnswer:
    """While a long stream runs."""
    until = _own(hold_id, request).extend(hold_id, body.lease_seconds)
    if until is None:
        raise _gone(hold_id)
    return HoldAnswer(hold_id=hold_id, state="held", expires_at=until)


def _own(hold_id: str, request: Request) -> Limits:
    """The limits, if the hold is one that the caller may touch."""
    limits: Limits = request.app.state.collector.limits
    tenant = request.state.caller.tenant
    if tenant is not None:
        hold = limits.find_hold(hold_id)
        if hold is None or hold.about.tenant != tenant:
            raise _gone(hold_id)
    return limits


def _gone(hold_id: str) -> Problem:
    return Problem(404, f"there is no hold {hold_id!r}: it is settled, released, expired or never was", name="no-hold")
