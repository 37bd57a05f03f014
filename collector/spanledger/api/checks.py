"""POST /api/checks and the life of holds.

The check is the hot path: `Checks` answers it as bare ASGI, before FastAPI's routing. The route below is the same
function once more, so that OpenAPI documents what is really served.
"""

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import Field, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from spanledger.api.access import LOCAL, Access, Caller, permit
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


async def answer(limits: Limits, body: bytes, caller: Caller) -> Answered:
    """Status, headers and body for the body of one check, or of a list of them."""
    many = body.lstrip()[:1] == b"["
    try:
        asked = _MANY.validate_json(body) if many else [_ONE.validate_json(body)]
    except ValidationError as error:
        return wrong_fields(error.errors()).answered()
    for one in asked:
        if caller.tenant is not None and one.tenant != caller.tenant:
            if one.tenant is not None:
                detail = f"{caller.name} speaks for tenant {caller.tenant!r} only"
                return Problem(403, detail, name="forbidden").answered()
            one.tenant = caller.tenant
    if not many:
        return _answered(await limits.ask(Check(**asked[0].__dict__)))
    verdicts = [await limits.ask(Check(**one.__dict__)) for one in asked]
    return 200, {"content-type": JSON}, orjson.dumps([_refused(v) if v.refused else passed(v) for v in verdicts])


def _answered(verdict: Verdict) -> Answered:
    if verdict.refused:
        first = verdict.refused[0]
        headers = {"content-type": MEDIA_TYPE, "retry-after": str(first.retry_after_seconds)} | _rate_limit(verdict.refused)
        return 429, headers, orjson.dumps(_refused(verdict))
    headers = {"content-type": JSON}
    if verdict.warnings:
        headers["spanledger-warning"] = "; ".join(_ascii(w.says) for w in verdict.warnings)[:1000]
    return 200, headers, orjson.dumps(passed(verdict))


def passed(verdict: Verdict) -> dict[str, Any]:
    """The body of 200."""
    body: dict[str, Any] = {
        "verdict": verdict.verdict,
        "hold_id": verdict.hold_id,
        "expires_at": verdict.expires_at,
        "warnings": [_standing(warning) for warning in verdict.warnings],
    }
    if verdict.counters_away:
        body["counters_away"] = True
    return body


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
        name = '"' + _ascii(one.limit).replace("\\", "").replace('"', "'") + '"'
        scale, unit = (1_000_000, ';qu="usd-millionths"') if one.measure == "cost_usd" else (1, f';qu="{one.measure}"')
        window = f";w={one.window_seconds}" if one.window_seconds else ""
        policies.append(f"{name};q={int(Decimal(one.amount) * scale)}{window}{unit}")
        reset = one.reset_seconds if one.reset_seconds is not None else one.retry_after_seconds
        states.append(f"{name};r={int(Decimal(one.remaining) * scale)};t={reset}")
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}


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
    return text.encode("ascii", "replace").decode().replace("\n", " ")


class Checks:
    """Answers POST /api/checks itself and gives everything else to the app behind it."""

    def __init__(self, app: ASGIApp, limits: Limits, access: Access) -> None:
        self._app = app
        self._limits = limits
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            open_to_all = self._access.open_to_all
            caller = LOCAL if open_to_all else permit(self._access, ("POST", PATH), Headers(raw=scope["headers"]))
            body = b""
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise Problem(413, "the body is at most a mebibyte")
                if not message.get("more_body"):
                    break
            status, headers, answered = await answer(self._limits, body, caller)
        except Problem as problem:
            status, headers, answered = problem.answered()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-length", str(len(answered)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answered})


_SCHEMA = CheckBody.model_json_schema()
_SCHEMA = {"oneOf": [_SCHEMA, {"type": "array", "items": _SCHEMA, "maxItems": MANY}]}


@router.post(
    PATH,
    summary="May this call go ahead?",
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": _SCHEMA}}}},
    responses={
        200: {"description": "It may; `hold_id` goes into the span attribute `spanledger.hold.id`"},
        429: {"description": "A limit is reached: which, how it stands, and when to ask again"},
    },
)
async def check(request: Request) -> Response:
    """One atomic step over all limits of the call. A call that may go ahead leaves a hold, which its span settles.

    A list of checks gets a list of answers, with 200: each is one step of its own, and a refusal among them has the body
    that it would have alone.
    """
    status, headers, body = await answer(request.app.state.collector.limits, await request.body(), request.state.caller)
    return Response(body, status, headers)


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
