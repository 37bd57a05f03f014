"""POST /api/checks and the life of holds.

The check is the hot path: `Checks` answers it as bare ASGI, before FastAPI's routing. The route below is the same
function once more, so that OpenAPI documents what is really served.
"""

from decimal import Decimal
from typing import Any

import orjson
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from spanledger.api.models import CheckBody, ExtendBody, HoldAnswer, SettleBody
from spanledger.api.problem import MEDIA_TYPE, TYPE, Problem, wrong_fields
from spanledger.limits import Check, Limits, Standing, Verdict

router = APIRouter(tags=["checks"])

PATH = "/api/checks"
LARGEST_BODY = 1024 * 1024
JSON = "application/json"


async def answer(limits: Limits, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for the body of a check."""
    try:
        asked = CheckBody.model_validate_json(body)
    except ValidationError as error:
        problem = wrong_fields(error.errors())
        return problem.status, {"content-type": MEDIA_TYPE}, orjson.dumps(problem.body)
    verdict = await limits.ask(Check(**asked.__dict__))
    if verdict.refused:
        return refusal(verdict)
    headers = {"content-type": JSON}
    if verdict.warnings:
        headers["spanledger-warning"] = "; ".join(_ascii(w.says) for w in verdict.warnings)[:1000]
    return 200, headers, orjson.dumps(passed(verdict))


def passed(verdict: Verdict) -> dict[str, Any]:
    """The body of 200."""
    return {
        "verdict": verdict.verdict,
        "hold_id": verdict.hold_id,
        "expires_at": verdict.expires_at,
        "warnings": [_standing(warning) for warning in verdict.warnings],
    }


def refusal(verdict: Verdict) -> tuple[int, dict[str, str], bytes]:
    """429 with the limit that stands in the way longest, and the others in `also`."""
    first, *others = verdict.refused
    body = {
        "type": f"{TYPE}limit-reached",
        "title": "A limit is reached",
        "status": 429,
        "detail": first.says,
        **_standing(first),
        "retry_after_seconds": first.retry_after_seconds,
        "also": [_standing(other) for other in others],
    }
    headers = {"content-type": MEDIA_TYPE, "retry-after": str(first.retry_after_seconds)}
    return 429, headers, orjson.dumps(body)


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
        "says": one.says,
    }


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode().replace("\n", " ")


class Checks:
    """Answers POST /api/checks itself and gives everything else to the app behind it."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > LARGEST_BODY:
                problem = Problem(413, "a check is at most a mebibyte")
                status, headers, answered = 413, {"content-type": MEDIA_TYPE}, orjson.dumps(problem.body)
                break
            if not message.get("more_body"):
                status, headers, answered = await answer(self._limits, body)
                break
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-length", str(len(answered)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answered})


@router.post(
    PATH,
    summary="May this call go ahead?",
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": CheckBody.model_json_schema()}}}},
    responses={
        200: {"description": "It may; `hold_id` goes into the span attribute `spanledger.hold.id`"},
        429: {"description": "A limit is reached: which, how it stands, and when to ask again"},
    },
)
async def check(request: Request) -> Response:
    """One atomic step over all limits of the call. A call that may go ahead leaves a hold, which its span settles."""
    status, headers, body = await answer(request.app.state.collector.limits, await request.body())
    return Response(body, status, headers)


@router.delete("/api/holds/{hold_id}", summary="Release a hold")
async def release(hold_id: str, request: Request) -> HoldAnswer:
    """For a call that was not made or cost nothing. 404 when it is already settled, released or expired."""
    if not request.app.state.collector.limits.release(hold_id):
        raise _gone(hold_id)
    return HoldAnswer(hold_id=hold_id, state="released")


@router.post("/api/holds/{hold_id}/settle", summary="Settle a hold by hand")
async def settle(hold_id: str, body: SettleBody, request: Request) -> HoldAnswer:
    """Shrink the hold to what the call used, at once; the span that arrives later replaces it and is counted once."""
    cost = None if body.cost_usd is None else Decimal(body.cost_usd)
    limits: Limits = request.app.state.collector.limits
    if not limits.settle(hold_id, cost_usd=cost, input_tokens=body.input_tokens, output_tokens=body.output_tokens):
        raise _gone(hold_id)
    return HoldAnswer(hold_id=hold_id, state="settled")


@router.post("/api/holds/{hold_id}/extend", summary="Lengthen a hold's lease")
async def extend(hold_id: str, body: ExtendBody, request: Request) -> HoldAnswer:
    """While a long stream runs."""
    until = request.app.state.collector.limits.extend(hold_id, body.lease_seconds)
    if until is None:
        raise _gone(hold_id)
    return HoldAnswer(hold_id=hold_id, state="held", expires_at=until)


def _gone(hold_id: str) -> Problem:
    return Problem(404, f"there is no hold {hold_id!r}: it is settled, released, expired or never was", name="no-hold")
