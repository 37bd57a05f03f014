"""/api/limits: the limits and how they stand; /api/usage: all limits of one subject."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from spanledger.api.access import Caller
from spanledger.api.bound import overshoot_bound
from spanledger.api.etags import IfMatch, etag_of, unchanged
from spanledger.api.limit_examples import BACKTEST, LIMIT, USAGE, answers, answers_page
from spanledger.api.models import LimitBody
from spanledger.api.moments import At
from spanledger.api.paging import After, Count
from spanledger.api.plain import plain
from spanledger.api.problem import Problem, wrong_field
from spanledger.limits import Limit, Limits
from spanledger.limits.answer import Asked, seconds_until
from spanledger.limits.backtest import backtest
from spanledger.limits.check import as_kept
from spanledger.limits.counters.counters import CountersAway, Key
from spanledger.limits.covering import scope_of
from spanledger.limits.limit import Measure, text_of
from spanledger.limits.selector import known_dimension, matches
from spanledger.limits.window import FOREVER, Rolling, micros, moment

router = APIRouter(prefix="/api", tags=["limits"])

FULLEST = 20
#: What stands beside a limit whose counter cannot be read now.
COUNTERS_AWAY = {"counters_away": True}
UNKNOWN = dict.fromkeys(("used", "held", "remaining", "fraction", "window_start", "window_end", "resets_in_seconds"))


@router.get("/limits", summary="Limits and how full they are", responses=answers_page("limits", LIMIT))
def all_limits(
    request: Request,
    name: Annotated[str | None, Query(description="the beginning of the name")] = None,
    measure: Measure | None = None,
    tier: str | None = None,
    source: Literal["config", "api"] | None = None,
    enabled: bool | None = None,
    hard: bool | None = None,
    selects: Annotated[
        list[str] | None, Query(description="dimension=value: limits that this value is under", examples=["tenant=acme"])
    ] = None,
    after: After = None,
    count: Count = 200,
) -> dict[str, Any]:
    """By name. `used`, `held`, `remaining` and `fraction` are those of a limit's fullest bucket."""
    limits = _limits(request)
    subject = subject_of(selects or [], "selects")
    wanted = {"measure": measure, "tier": tier, "source": source, "enabled": enabled, "hard": hard}
    found = [
        limit
        for limit in limits.all()
        if (after is None or limit.name > after)
        and (name is None or limit.name.startswith(name))
        and all(value is None or getattr(limit, field) == value for field, value in wanted.items())
        and all(dim not in subject or matches(patterns, subject[dim]) for dim, patterns in limit.selectors.items())
    ]
    page = found[:count]
    return {"limits": [shown(limits, limit) for limit in page], "next": page[-1].name if len(found) > count else None}


@router.post("/limits", status_code=201, summary="Add a limit", responses=answers(LIMIT, 201))
def create(body: LimitBody, request: Request, response: Response) -> dict[str, Any]:
    """What the ledger already has in the limit's window counts at once."""
    limits = _limits(request)
    limit = limits.create(body.given(), who=_caller(request).name, why=body.reason)
    response.headers["location"] = f"/api/limits/{limit.id}"
    response.headers["etag"] = etag_of(limit.fields())
    return shown(limits, limit)


@router.get("/limits/{limit_id}", summary="One limit and how its buckets stand", responses=answers(LIMIT))
def one(limit_id: str, request: Request, response: Response) -> dict[str, Any]:
    """The ETag is that of the limit itself, whatever has been used of it."""
    limits = _limits(request)
    limit = _found(limits, limit_id)
    response.headers["etag"] = etag_of(limit.fields())
    return shown(limits, limit)


@router.patch("/limits/{limit_id}", summary="Change some fields of a limit", responses=answers(LIMIT))
def change(limit_id: str, body: LimitBody, request: Request, response: Response, if_match: IfMatch = None) -> dict[str, Any]:
    """A field given as null gets its default. What counts is counted anew; what is held stays."""
    limits = _limits(request)
    limit = limits.update(
        limit_id, body.given(), who=_caller(request).name, why=body.reason, expects=lambda was: unchanged(was.fields(), if_match)
    )
    response.headers["etag"] = etag_of(limit.fields())
    return shown(limits, limit)


@router.delete("/limits/{limit_id}", status_code=204, summary="Remove a limit")
def delete(limit_id: str, request: Request, reason: str | None = None, if_match: IfMatch = None) -> None:
    _limits(request).delete(
        limit_id, who=_caller(request).name, why=reason, expects=lambda was: unchanged(was.fields(), if_match)
    )


@router.post("/limits/backtest", summary="What a limit would have done, before it is made", responses=answers(BACKTEST))
def backtest_new(body: LimitBody, request: Request, since: At = None, until: At = None) -> dict[str, Any]:
    """Nothing is made or changed. `since` defaults to 30 days ago."""
    given = {"name": "back-test", **body.given()}
    return _tested(request, Limit.of(given, limit_id="backtest"), since, until)


@router.get("/limits/{limit_id}/backtest", summary="What a limit would have done in the past", responses=answers(BACKTEST))
def backtest_old(limit_id: str, request: Request, since: At = None, until: At = None) -> dict[str, Any]:
    """`since` defaults to 30 days ago."""
    return _tested(request, _found(_limits(request), limit_id), since, until)


def _tested(request: Request, limit: Limit, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    limits = _limits(request)
    since, until = since or limits.now() - timedelta(days=30), until or limits.now()
    if until < since:
        raise wrong_field("until", "is before since")
    if limits.history is None:
        raise Problem(503, "there is no ledger to look back over")
    with limits.history() as connection:
        found = backtest(connection, limit, limits.covering.terms, since=since, until=until)
    tested: dict[str, Any] = plain(found)
    return {"limit": limit.name, **tested}


@router.get("/usage", summary="All limits of one subject: used, held, remaining, resets", responses=answers(USAGE))
def usage(
    request: Request,
    of: Annotated[list[str], Query(description="dimension=value, for each dimension of the subject", examples=["tenant=acme"])],
) -> dict[str, Any]:
    """`/api/usage?of=tenant=acme&of=user=u-17`: each value on its own, whatever stands in it."""
    limits = _limits(request)
    wanted = subject_of(of, "of")
    caller = _caller(request)
    if caller.tenant is not None and (wanted.get("tenant") or caller.tenant) != caller.tenant:
        raise Problem(403, f"{caller.name} speaks for tenant {caller.tenant!r} only", name="forbidden")
    if caller.tenant is not None:
        wanted["tenant"] = caller.tenant
    now = limits.micros()
    cover = limits.covering.cover(wanted, now)
    standing: list[dict[str, Any]] = []
    away: dict[str, Any] = {}
    for covered in cover.limits:
        limit = covered.limit
        try:
            [asked] = limits.standing(limit, [covered.key])
            stands = _bucket(limit, asked, now, limits.slots(asked.demand.place))
        except CountersAway:
            away = COUNTERS_AWAY
            stands = _known(limit, covered.key, text_of(limit.measure, covered.cap_at(now))) | UNKNOWN
        standing.append({"limit": limit.name, "limit_id": limit.id, "measure": limit.measure, "hard": limit.hard} | stands)
    paused = [{"id": pause.id, "reason": pause.reason, "until": pause.until} for pause in cover.pauses
              if pause.until is None or micros(pause.until) > now]  # fmt: skip
    return {"subject": wanted, "limits": standing, "pauses": paused, **away}


@router.get("/usage/{subject:path}", summary="The same, the subject in the path", responses=answers(USAGE))
def usage_of(subject: str, request: Request) -> dict[str, Any]:
    """`/api/usage/tenant=acme,user=u-17`. A value with a comma in it is asked for with `/api/usage?of=`."""
    return usage(request, subject.split(","))


def shown(limits: Limits, limit: Limit) -> dict[str, Any]:
    """A limit with how it stands; `used` and what follows are those of its fullest bucket."""
    return {
        "id": limit.id,
        **limit.fields(),
        "source": limit.source,
        "scope": scope_of(limit, tuple("*" for _ in limit.per)),
        "overshoot_bound": overshoot_bound(limit, shared=limits.waits),
        **_stands(limits, limit),
    }


def _stands(limits: Limits, limit: Limit) -> dict[str, Any]:
    now = limits.micros()
    try:
        buckets, count = limits.buckets(limit, FULLEST)
    except CountersAway:
        unknown = dict.fromkeys(("used", "held", "remaining", "fraction", "window_end", "bucket_count"))
        return {**unknown, "buckets": [], **COUNTERS_AWAY}
    shown_buckets = [_bucket(limit, asked, now) for asked in buckets]
    empty = {"used": "0", "held": "0", "remaining": text_of(limit.measure, limit.cap), "fraction": 0.0, "window_end": None}
    fullest = shown_buckets[0] if shown_buckets else empty
    return {**{name: fullest[name] for name in empty}, "bucket_count": count, "buckets": shown_buckets}


def subject_of(pairs: list[str], field: str) -> dict[str, str | None]:
    subject: dict[str, str | None] = {}
    for pair in pairs:
        dimension, equals, value = pair.partition("=")
        if not equals:
            raise wrong_field(field, f"{pair!r} is not dimension=value, such as tenant=acme")
        known_dimension(field, dimension)
        if dimension in subject:
            raise wrong_field(field, f"{dimension} is given twice; a subject has one")
        subject[dimension] = as_kept(dimension, value)
    return subject


def _bucket(limit: Limit, asked: Asked, now: int, slots: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
    """With the `slots` of a rolling bucket it renews when the last of what is used has left it."""
    reading, place = asked.reading, asked.demand.place
    rolling = isinstance(limit.window, Rolling)
    ends = place.end < FOREVER and not rolling
    total, cap = reading.used + reading.held, asked.demand.cap
    renews = place.end if ends else (slots[-1][0] + 1) * place.width + place.length if slots else None
    return {
        **_known(limit, asked.key, text_of(limit.measure, cap)),
        "used": text_of(limit.measure, reading.used),
        "held": text_of(limit.measure, reading.held),
        "remaining": text_of(limit.measure, asked.free),
        "fraction": round(total / cap, 6) if cap else None,
        "window_start": None if rolling else moment(place.start),
        "window_end": moment(place.end) if ends else None,
        "resets_in_seconds": None if renews is None else seconds_until(renews, now),
    }


def _known(limit: Limit, key: Key, amount: str) -> dict[str, Any]:
    """What is known of a bucket without its counter."""
    return {"subject": dict(zip(limit.per, key, strict=True)), "scope": scope_of(limit, key), "amount": amount}


def _limits(request: Request) -> Limits:
    limits: Limits = request.app.state.collector.limits
    return limits


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _found(limits: Limits, limit_id: str) -> Limit:
    limit = limits.get(limit_id)
    if limit is None:
        raise Problem(404, f"there is no limit {limit_id!r}", name="not-found")
    return limit
