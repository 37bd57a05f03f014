"""Pauses, top-ups, overrides, resets, and the audit of all that was changed."""

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import Field

from spanledger.api.limit_examples import CHANGE, GRANT, PAUSE, RESET, answers, answers_page
from spanledger.api.limits import subject_of
from spanledger.api.models import Body
from spanledger.api.moments import Moment
from spanledger.api.paging import After, Count, page
from spanledger.api.problem import Problem, wrong_field
from spanledger.control import TABLES
from spanledger.limits import Limit, Limits
from spanledger.limits.limit import text_of
from spanledger.limits.terms import Grant, Pause

router = APIRouter(prefix="/api")
Reason = Annotated[str, Field(min_length=1, max_length=2_000, description="why, for the audit")]


class PauseBody(Body):
    """Whom to pause, and until when; without an end, until someone resumes them."""

    selectors: Annotated[dict[str, Any], Field(examples=[{"tenant": "acme", "agent": "crawler"}])]
    reason: Reason
    until: Moment = None


class GrantBody(Body):
    """More (`top_up`) or another amount (`override`) for a time; without a subject, for every bucket of the limit."""

    kind: Literal["top_up", "override"]
    amount: Annotated[Any, Field(examples=["25.00"])]
    subject: Annotated[dict[str, str | None] | None, Field(examples=[{"user": "u-17"}])] = None
    valid_from: Moment = None
    expires_at: Annotated[Moment, Field(description="default: the end of the window")] = None
    reason: Reason


class ResetBody(Body):
    """Which bucket to reset: a value for each dimension that the limit is per."""

    subject: Annotated[dict[str, str | None], Field(default_factory=dict, examples=[{"user": "u-17"}])]
    reason: Reason


@router.get("/pauses", summary="Who is paused", tags=["pauses"], responses=answers_page("pauses", PAUSE))
def pauses(
    request: Request,
    covers: Annotated[
        list[str] | None, Query(description="dimension=value: pauses that cover this subject", examples=["tenant=acme"])
    ] = None,
    limit_id: Annotated[str | None, Query(description="pauses that this limit made")] = None,
    after: After = None,
    count: Count = 200,
) -> dict[str, Any]:
    """Newest first."""
    subject = subject_of(covers or [], "covers")
    found = [pause for pause in _limits(request).admin.pauses() if limit_id in (None, pause.limit_id) and pause.touches(subject)]
    shown, following = page(found, lambda pause: pause.id, after, count)
    return {"pauses": [_pause(pause) for pause in shown], "next": following}


@router.post("/pauses", status_code=201, summary="Pause a subject", tags=["pauses"], responses=answers(PAUSE, 201))
def pause(body: PauseBody, request: Request) -> dict[str, Any]:
    """Every check that the selectors cover is refused until then."""
    made = _limits(request).admin.pause(body.selectors, reason=body.reason, until=body.until, who=_who(request))
    return _pause(made)


@router.delete("/pauses/{pause_id}", status_code=204, summary="Resume a subject", tags=["pauses"])
def resume(pause_id: str, request: Request, reason: str | None = None) -> None:
    _limits(request).admin.resume(pause_id, who=_who(request), reason=reason)


@router.get(
    "/grants", summary="Top-ups and overrides in force or to come", tags=["limits"], responses=answers_page("grants", GRANT)
)
def grants(
    request: Request,
    limit_id: str | None = None,
    kind: Literal["top_up", "override"] | None = None,
    after: After = None,
    count: Count = 200,
) -> dict[str, Any]:
    """Newest first."""
    limits = _limits(request)
    wanted = [grant for grant in limits.admin.grants(limit_id) if kind in (None, grant.kind)]
    found = [(limit, grant) for grant in wanted if (limit := limits.get(grant.limit_id)) is not None]
    shown, following = page(found, lambda one: one[1].id, after, count)
    return {"grants": [_grant(limit, grant) for limit, grant in shown], "next": following}


@router.post(
    "/limits/{limit_id}/grants",
    status_code=201,
    summary="Top up or override a limit for a time",
    tags=["limits"],
    responses=answers(GRANT, 201),
)
def grant(limit_id: str, body: GrantBody, request: Request) -> dict[str, Any]:
    limit = _limit(request, limit_id)
    made = _limits(request).admin.grant(
        limit,
        body.kind,
        body.amount,
        subject=body.subject,
        valid_from=body.valid_from,
        expires_at=body.expires_at,
        reason=body.reason,
        who=_who(request),
    )
    return _grant(limit, made)


@router.delete("/grants/{grant_id}", status_code=204, summary="End a top-up or override early", tags=["limits"])
def revoke(grant_id: str, request: Request, reason: str | None = None) -> None:
    _limits(request).admin.revoke_grant(grant_id, who=_who(request), reason=reason)


@router.post(
    "/limits/{limit_id}/resets",
    summary="Forget what a bucket has counted in its window",
    tags=["limits"],
    responses=answers(RESET),
)
def reset(limit_id: str, body: ResetBody, request: Request) -> dict[str, Any]:
    limit = _limit(request, limit_id)
    forgotten = _limits(request).admin.reset(limit, body.subject, reason=body.reason, who=_who(request))
    return {"limit_id": limit.id, "subject": body.subject, "forgotten": text_of(limit.measure, int(forgotten))}


@router.get("/audit", summary="Who changed what, when and why", tags=["audit"], responses=answers_page("audit", CHANGE))
def audit(
    request: Request,
    table: str | None = None,
    row_id: str | None = None,
    before: Annotated[Moment, Query(description="changes made earlier than this")] = None,
    after: After = None,
    count: Count = 100,
) -> dict[str, Any]:
    """Newest first. Changes made together have one moment, and come together over as many pages as they need."""
    rows = TABLES["audit"]
    wanted = sa.select(rows).order_by(rows.c.at.desc(), rows.c.id).limit(count + 1)
    for column, value in ((rows.c.table_name, table), (rows.c.row_id, row_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    if before is not None:
        wanted = wanted.where(rows.c.at < before)
    with request.app.state.collector.control.read() as connection:
        if after is not None:
            at = connection.execute(sa.select(rows.c.at).where(rows.c.id == after)).scalar()
            if at is None:
                raise wrong_field("after", f"{after!r} is not there; begin again without it")
            wanted = wanted.where(sa.or_(rows.c.at < at, sa.and_(rows.c.at == at, rows.c.id > after)))
        found = [dict(row) for row in connection.execute(wanted).mappings()]
    return {"audit": found[:count], "next": found[count - 1]["id"] if len(found) > count else None}


def _pause(pause: Pause) -> dict[str, Any]:
    return {
        "id": pause.id,
        "selectors": {name: list(values) for name, values in pause.selectors.items()},
        "reason": pause.reason,
        "limit_id": pause.limit_id,
        "since": pause.since,
        "until": pause.until,
    }


def _grant(limit: Limit, grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "limit_id": grant.limit_id,
        "limit": limit.name,
        "kind": grant.kind,
        "subject": None if grant.subject is None else dict(zip(limit.per, grant.subject, strict=False)),
        "amount": format(grant.amount, "f"),
        "valid_from": grant.valid_from,
        "expires_at": grant.expires_at,
        "reason": grant.reason,
    }


def _limits(request: Request) -> Limits:
    limits: Limits = request.app.state.collector.limits
    return limits


def _limit(request: Request, limit_id: str) -> Limit:
    limit = _limits(request).get(limit_id)
    if limit is None:
        raise Problem(404, f"there is no limit {limit_id!r}", name="not-found")
    return limit


def _who(request: Request) -> str:
    return str(request.state.caller.name)
