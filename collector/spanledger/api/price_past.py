"""/api/prices: the calls that were made. What has no price, what senders claim, what was believed, and re-rating."""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request

from spanledger.api.moments import At
from spanledger.api.paging import After, Count, page
from spanledger.api.plain import plain
from spanledger.api.price_asking import Json, desk_of, range_of, who_asks
from spanledger.api.price_bodies import RerateBody
from spanledger.api.problem import wrong_field
from spanledger.collector.pricing.queries import rows
from spanledger.collector.pricing.rerate import Range, Rerating

router = APIRouter(prefix="/api/prices", tags=["prices"])


@router.get("/unpriced", summary="What has no price")
def unpriced(request: Request, since: At = None, until: At = None, after: After = None, count: Count = 100) -> Json:
    """By the names that telemetry gave, with reason, calls and tokens; the most calls first; by default of the last 30 days."""
    since, until = range_of(since, until)
    with desk_of(request).read() as connection:
        found = rows(connection, "unpriced", since=since, until=until)
    return {"since": since, "until": until, **_page("unpriced", found, after, count)}


@router.get("/reported", summary="Where reported costs differ")
def reported(
    request: Request, since: At = None, until: At = None, share: Annotated[Decimal, Query(ge=0, le=100)] = Decimal("0.05"),
    least_usd: Annotated[Decimal, Query(ge=0, le=10**6)] = Decimal("0.01"), after: After = None, count: Count = 100,
) -> Json:  # fmt: skip
    """Models whose calls are, added up whichever way each is off, further than `share` and `least_usd` from their list price by
    what senders report."""
    since, until = range_of(since, until)
    with desk_of(request).read() as connection:
        found = rows(connection, "reported", since=since, until=until, share=share, least_usd=least_usd)
    return {"since": since, "until": until, **_page("reported", found, after, count)}


@router.get("/known", summary="What the ledger said at a moment")
def known(
    request: Request, as_known_on: At, since: At = None, until: At = None, after: After = None, count: Count = 100
) -> Json:  # fmt: skip
    """Spend by model as it was believed at `as_known_on`, before what came late and was re-rated since. `cost_usd` is that of all
    models, whatever the page."""
    since, until = range_of(since, until)
    if as_known_on is None:
        raise wrong_field("as_known_on", "is needed: a moment such as 2026-12-01 or 2026-12-01T08:00:00Z")
    with desk_of(request).read() as connection:
        found = rows(connection, "known", as_known_on=as_known_on, since=since, until=until)
    total = sum((one["cost_usd"] for one in found), Decimal(0))
    of = {"as_known_on": as_known_on, "since": since, "until": until, "cost_usd": plain(total)}
    return {**of, **_page("models", found, after, count)}


@router.post("/rerate", summary="Price past calls anew")
def rerate(request: Request, body: RerateBody) -> Json:
    """A preview; with `post` the differences are posted as adjustments in one commit, and the counters follow."""
    if body.post and not (body.note or "").strip():
        raise wrong_field("note", "is needed to post: it stands in the ledger and in the audit")
    since, until = range_of(body.since, body.until)
    over = Range(
        since=since, until=until, provider=body.provider, model=body.model, tenant=body.tenant, unpriced_only=body.unpriced_only
    )
    found = desk_of(request).rerate(over, who=who_asks(request), note=body.note or "", post=body.post)
    return {"posted": body.post and found.changed > 0, **_rerated(found)}


@router.post("/monthly", summary="Post what is due of fixed monthly costs")
def monthly(request: Request) -> Json:
    """A share for every day up to today; doing it again posts nothing."""
    return {"posted": desk_of(request).post_monthly()}


def _page(name: str, found: list[Json], after: str | None, count: int) -> Json:
    shown, following = page(found, _key, after, count)
    return {name: plain(shown), "next": following}


def _key(row: Json) -> str:
    """What tells a row from the others: the words in it."""
    return "|".join(value or "" for value in row.values() if value is None or isinstance(value, str))


def _rerated(found: Rerating) -> Json:
    lines = [{**plain(line), "difference_usd": plain(line.difference_usd)} for line in found.lines]
    return {
        "since": found.range.since, "until": found.range.until, "revision": found.revision, "calls": found.calls,
        "changed": found.changed, "old_usd": plain(found.old_usd), "new_usd": plain(found.new_usd),
        "difference_usd": plain(found.difference_usd), "lines": lines,
    }  # fmt: skip
