"""POST /api/checks and the life of holds.

`Checks` answers checks however they come: from the route below, or from `check_connection.py`, which reads them off the
connection before a request of ASGI is made.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import APIRouter, Request
from pydantic import Field, TypeAdapter, ValidationError
from starlette.responses import Response

from spanledger.api.access import LOCAL, Access, Caller, permit
from spanledger.api.check_answers import JSON, Answered, Answers
from spanledger.api.check_examples import ANSWERS
from spanledger.api.here import from_here
from spanledger.api.models import CheckBody, ExtendBody, HoldAnswer, SettleBody
from spanledger.api.problem import Problem, wrong_fields
from spanledger.limits import Check, Limits
from spanledger.limits.check import LONGEST_NAME, LONGEST_WAIT_MS

router = APIRouter(tags=["checks"])

PATH = "/api/checks"
LARGEST_BODY = 1024 * 1024
MANY = 1_000

#: Reads a check in a sixth of the time that pydantic takes; what it does not take, pydantic takes or says what is wrong.
_read = msgspec.json.Decoder(Check).decode
_ONE = TypeAdapter(CheckBody)
_MANY = TypeAdapter(Annotated[list[CheckBody], Field(min_length=1, max_length=MANY)])


class Checks:
    """Answers the bodies of POST /api/checks, over whichever way they came."""

    def __init__(self, limits: Limits, access: Access) -> None:
        self._limits = limits
        self._access = access
        self._answers = Answers()
        self._host: bytes | None = None  # that of the last request, which is mostly that of the next

    def caller(self, headers: Mapping[bytes, bytes], *, wait: bool = False) -> Caller:
        """Who asks. Raises `Problem`, and `MustWait` unless it may wait."""
        if self._access.open_to_all:
            host = headers.get(b"host")
            if host != self._host or b"origin" in headers:
                origin = headers.get(b"origin")
                from_here(None if host is None else host.decode("latin-1"), None if origin is None else origin.decode("latin-1"))
                self._host = host
            return LOCAL
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        return permit(self._access, ("POST", PATH), told, wait=wait)

    def at_once(self, body: bytes, caller: Caller) -> Answered | None:
        """The answer to one check that needs to wait for nothing; None where it does. Raises `Problem`."""
        if self._limits.waits or body[:1] != b"{":
            return None
        verdict = self._limits.ask_at_once(_check(body, caller))
        return None if verdict is None else self._answers.one(verdict, self._limits.covering.looks_at)

    async def answer_whom(self, body: bytes, headers: Mapping[bytes, bytes]) -> Answered:
        """The same for a caller whose issuer must be asked first, which takes a thread. Raises `Problem`."""
        return await self.answer(body, await asyncio.to_thread(self.caller, headers, wait=True))

    async def answer(self, body: bytes, caller: Caller) -> Answered:
        """Status, headers and body for one check, or for a list of them. Raises `Problem`."""
        if body.lstrip()[:1] != b"[":
            return self._answers.one(await self._limits.ask(_check(body, caller)), self._limits.covering.looks_at)
        checks = [_of_caller(Check(**one.__dict__), caller) for one in _taken(_MANY, body)]
        verdicts, end = [], time.monotonic() + LONGEST_WAIT_MS / 1_000
        for check in checks:
            left = max(0, round((end - time.monotonic()) * 1_000))
            verdicts.append(await self._limits.ask(msgspec.structs.replace(check, wait_ms=min(check.wait_ms, left))))
        return self._answers.many(verdicts, self._limits.covering.looks_at)

    def take_back(self, answered: Answered) -> None:
        """Release what an answer holds that its caller never got."""
        told = orjson.loads(answered[2])
        for one in told if isinstance(told, list) else [told]:
            if hold_id := one.get("hold_id"):
                self._limits.release(hold_id)


def _check(body: bytes, caller: Caller) -> Check:
    try:
        check = _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        check = Check(**_taken(_ONE, body).__dict__)
    return check if caller.tenant is None else _of_caller(check, caller)


def _taken(adapter: TypeAdapter[Any], body: bytes) -> Any:
    """What a body says; names that could not be kept as they are do not make it wrong. Raises `Problem`."""
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        wrong = error
    try:
        # Python's own reader takes halves of characters, too.
        given = json.loads(body)
        keepable = _keepable(given)
    except (ValueError, RecursionError):
        raise wrong_fields(wrong.errors(), CheckBody.model_fields) from None
    if keepable == given:
        raise wrong_fields(wrong.errors(), CheckBody.model_fields) from None
    try:
        return adapter.validate_json(json.dumps(keepable))
    except ValidationError as error:
        raise wrong_fields(error.errors(), CheckBody.model_fields) from None


def _keepable(given: Any) -> Any:
    """The same with its texts cut, and with U+FFFD for halves of characters: a user's id must not decide whether a check is
    answered. `Check.subject` does the rest."""
    if isinstance(given, str):
        whole = given if given.isascii() else given.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return whole[:LONGEST_NAME]
    if isinstance(given, dict):
        return {_keepable(name): _keepable(value) for name, value in given.items()}
    return [_keepable(one) for one in given] if isinstance(given, list) else given


def _of_caller(check: Check, caller: Caller) -> Check:
    """The check, for the tenant that its caller speaks for. Raises `Problem`."""
    if caller.tenant is None or check.tenant == caller.tenant:
        return check
    if check.subject()["tenant"] is not None:
        raise Problem(403, f"{caller.name} speaks for tenant {caller.tenant!r} only", name="forbidden")
    return msgspec.structs.replace(check, tenant=caller.tenant)


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
    that it would have alone. All of a list wait ten seconds at most.
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
