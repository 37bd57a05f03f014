"""/api/prices: the calls that were made. What has no price, what senders claim, what was believed, and re-rating."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fastapi import APIRouter, Body, Request
from starlette.concurrency import run_in_threadpool

from spanledger.api.price_asking import Json, aware, desk_of, errors, moment_in, plain, range_of, who_asks
from spanledger.api.price_examples import RERATING
from spanledger.api.problem import wrong_field
from spanledger.collector.pricing.queries import rows
from spanledger.collector.pricing.rerate import Range, Rerating

router = APIRouter(prefix="/api/prices", tags=["prices"])


@router.get("/unpriced", summary="What has no price")
def unpriced(request: Request, since: datetime | None = None, until: datetime | None = None, count: int = 100) -> Json:
    """By the names that telemetry gave, with the reason, calls and tokens. `since` defaults to 30 days ago."""
    since, until = range_of(since, until)
    with desk_of(request).read() as connection:
        return {"since": since, "until": until, "unpriced": rows(connection, "unpriced", since=since, until=until, count=count)}


@router.get("/reported", summary="Where reported costs differ")
def reported(
    request: Request, since: datetime | None = None, until: datetime | None = None, share: float = 0.05, least_usd: str = "0.01",
    count: int = 100,
) -> Json:  # fmt: skip
    """Models for which what senders report and the list price differ by more than `share`, and by `least_usd`."""
    since, until = range_of(since, until)
    with desk_of(request).read() as connection:
        found = rows(
            connection, "reported", since=since, until=until, share=Decimal(str(share)), least_usd=Decimal(least_usd), count=count
        )
    return {"since": since, "until": until, "reported": plain(found)}


@router.get("/known", summary="What the ledger said at a moment")
def known(request: Request, as_known_on: datetime, since: datetime | None = None, until: datetime | None = None) -> Json:
    """Spend by model as it was believed at `as_known_on`, before what came late and was re-rated since."""
    since, until = range_of(since, until)
    at = aware("as_known_on", as_known_on)
    with desk_of(request).read() as connection:
        found = rows(connection, "known", as_known_on=at, since=since, until=until)
    total = sum((one["cost_usd"] for one in found), Decimal(0))
    return {"as_known_on": at, "since": since, "until": until, "cost_usd": plain(total), "models": plain(found)}


@router.post("/rerate", summary="Price past calls anew")
async def rerate(request: Request, body: Json = Body(examples=[RERATING])) -> Json:  # noqa: B008
    """`{"since", "until", "provider", "model", "tenant", "unpriced_only", "post": false, "reason"}`. Without `post` it is
    a preview; with it, the differences are posted as adjustments in one commit and the counters follow."""
    desk = desk_of(request)
    allowed = {"since", "until", "provider", "model", "tenant", "unpriced_only", "post", "reason"}
    for name in body.keys() - allowed:
        raise wrong_field(name, f"is not a field of a re-rating (known: {', '.join(sorted(allowed))})")
    post, why = body.get("post") is True, body.get("reason") or ""
    if post and not why:
        raise wrong_field("reason", "is needed to post: it stands in the ledger and in the audit")
    with errors():
        over = Range(
            since=moment_in(body, "since", datetime.now(UTC) - timedelta(days=30)),
            until=moment_in(body, "until", datetime.now(UTC)),
            provider=body.get("provider"), model=body.get("model"), tenant=body.get("tenant"),
            unpriced_only=body.get("unpriced_only") is True,
        )  # fmt: skip
        # It may take seconds: the event loop stays free for checks.
        found = await run_in_threadpool(desk.rerate, over, who=who_asks(request), note=why, post=post)
    return {"posted": post and found.changed > 0, **shown_rerating(found)}


@router.post("/monthly", summary="Post what is due of fixed monthly costs")
def monthly(request: Request) -> Json:
    """A share for every day up to today; doing it again posts nothing."""
    return {"posted": desk_of(request).post_monthly()}


def shown_rerating(found: Rerating) -> Json:
    return {
        "since": found.range.since, "until": found.range.until, "revision": found.revision, "calls": found.calls,
        "changed": found.changed, "old_usd": plain(found.old_usd), "new_usd": plain(found.new_usd),
        "difference_usd": plain(found.difference_usd),
        "lines": [
            {**{name: plain(getattr(line, name)) for name in line.__slots__}, "difference_usd": plain(line.difference_usd)}
            for line in found.lines
        ],
    }  # fmt: skip
