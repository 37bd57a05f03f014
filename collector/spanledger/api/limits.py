"""/api/limits: the limits and how they stand."""

from typing import Any

from fastapi import APIRouter, Request, Response

from spanledger.api.models import LimitBody
from spanledger.api.problem import Problem
from spanledger.limits import Limit, Limits
from spanledger.limits.answer import Asked
from spanledger.limits.covering import scope_of
from spanledger.limits.limit import text_of
from spanledger.limits.window import FOREVER, Rolling, moment

router = APIRouter(prefix="/api/limits", tags=["limits"])

FULLEST = 20


@router.get("", summary="All limits and how full they are")
def all_limits(request: Request) -> dict[str, Any]:
    limits = _limits(request)
    return {"limits": [shown(limits, limit) for limit in limits.all()], "next": None}


@router.post("", status_code=201, summary="Add a limit")
def create(body: LimitBody, request: Request, response: Response) -> dict[str, Any]:
    """What the ledger already has in the limit's window counts at once."""
    limits = _limits(request)
    limit = limits.create(body.given(), who=_who(request), why=body.reason)
    response.headers["location"] = f"/api/limits/{limit.id}"
    return shown(limits, limit)


@router.get("/{limit_id}", summary="One limit and how its buckets stand")
def one(limit_id: str, request: Request) -> dict[str, Any]:
    limits = _limits(request)
    return shown(limits, _found(limits, limit_id))


@router.patch("/{limit_id}", summary="Change some fields of a limit")
def change(limit_id: str, body: LimitBody, request: Request) -> dict[str, Any]:
    limits = _limits(request)
    _found(limits, limit_id)
    return shown(limits, limits.update(limit_id, body.given(), who=_who(request), why=body.reason))


@router.delete("/{limit_id}", status_code=204, summary="Remove a limit")
def delete(limit_id: str, request: Request, reason: str | None = None) -> None:
    limits = _limits(request)
    _found(limits, limit_id)
    limits.delete(limit_id, who=_who(request), why=reason)


def shown(limits: Limits, limit: Limit) -> dict[str, Any]:
    """A limit with how it stands; `used` and what follows are those of its fullest bucket."""
    buckets = limits.buckets(limit)
    shown_buckets = [_bucket(limit, asked) for asked in buckets[:FULLEST]]
    empty = {"used": "0", "held": "0", "remaining": text_of(limit.measure, limit.cap), "fraction": 0.0, "window_end": None}
    fullest = shown_buckets[0] if shown_buckets else empty
    return {
        "id": limit.id,
        **limit.fields(),
        "source": limit.source,
        "scope": scope_of(limit, tuple("*" for _ in limit.per)),
        **{name: fullest[name] for name in empty},
        "bucket_count": len(buckets),
        "buckets": shown_buckets,
    }


def _bucket(limit: Limit, asked: Asked) -> dict[str, Any]:
    reading, place = asked.reading, asked.demand.place
    rolling = isinstance(limit.window, Rolling)
    ends = place.end < FOREVER and not rolling
    total, cap = reading.used + reading.held, asked.demand.cap
    return {
        "subject": dict(zip(limit.per, asked.key, strict=True)),
        "scope": scope_of(limit, asked.key),
        "used": text_of(limit.measure, reading.used),
        "held": text_of(limit.measure, reading.held),
        "amount": text_of(limit.measure, cap),
        "remaining": text_of(limit.measure, asked.free),
        "fraction": round(total / cap, 6) if cap else None,
        "window_start": None if rolling else moment(place.start),
        "window_end": moment(place.end) if ends else None,
    }


def _limits(request: Request) -> Limits:
    limits: Limits = request.app.state.collector.limits
    return limits


def _found(limits: Limits, limit_id: str) -> Limit:
    limit = limits.get(limit_id)
    if limit is None:
        raise Problem(404, f"there is no limit {limit_id!r}", name="not-found")
    return limit


def _who(request: Request) -> str:
    return getattr(request.state, "who", None) or "api"
