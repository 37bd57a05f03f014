"""What was spent: totals, groups, the overview and the latest calls. The SQL is analytics'."""

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import duckdb
from fastapi import APIRouter, Query, Request

from spanledger.analytics import Selection, connect, latest_calls, overview, spend_by, spend_over_time, totals
from spanledger.api.moments import At
from spanledger.api.paging import After
from spanledger.api.plain import plain
from spanledger.api.problem import Problem, wrong_field
from spanledger.ledger.schema import DIMENSIONS

router = APIRouter(prefix="/api", tags=["costs"])


@router.get("/summary", summary="Sums over a range of time, in groups if wanted")
def summary(
    request: Request,
    since: At = None,
    until: At = None,
    group_by: str | None = None,
    step: Literal["hour", "day", "week", "month"] | None = None,
    top: int = Query(50, ge=1, le=10_000),
    as_known_on: At = None,
) -> dict[str, Any]:
    """`since` and `until` default to this month up to now (UTC). Further parameters filter: `?tenant=acme&tag.team=x`.

    `cost_usd` leaves out calls without a price; `unpriced` counts them, and `coverage` is the share that has one.
    `as_known_on` asks for what the ledger said at a moment: without what came late, was corrected or re-rated since.
    """
    selection = _selection(request, since, until)
    with _ledger(request, as_known_on) as connection:
        answer = {"since": selection.since, "until": selection.until, "totals": _totals(totals(connection, selection))}
        if as_known_on is not None:
            answer["as_known_on"] = as_known_on
        try:
            if step is not None:
                answer["steps"] = _rows(spend_over_time(connection, selection, step=step, dimension=group_by, top=top))
            elif group_by is not None:
                answer["groups"] = _rows(spend_by(connection, group_by, selection, top=top))
        except ValueError as error:
            raise wrong_field("group_by", str(error)) from None
    return answer


@router.get("/overview", summary="Today, this month and its projection")
def overview_now(request: Request) -> dict[str, Any]:
    filters = _filters(request)
    with _ledger(request) as connection:
        found = overview(connection, datetime.now(UTC), filters=filters)
    shown = plain({field.name: getattr(found, field.name) for field in dataclasses.fields(found)})
    for name in ("today", "month", "last_month"):
        shown[name] = _totals(getattr(found, name))
    answer: dict[str, Any] = shown
    return answer


@router.get("/calls", summary="The latest calls")
def calls(
    request: Request,
    since: At = None,
    until: At = None,
    outcome: Literal["ok", "error"] | None = None,
    count: int = Query(100, ge=1, le=10_000),
    after: After = None,
    as_known_on: At = None,
) -> dict[str, Any]:
    """Newest first. `since` defaults to 30 days ago; further parameters filter, and `as_known_on` asks for what was known, as in
    /api/summary."""
    now = datetime.now(UTC)
    selection = _selection(request, since or now - timedelta(days=30), until or now + timedelta(days=1))
    with _ledger(request, as_known_on) as connection:
        found = _rows(latest_calls(connection, selection, count=count + 1, outcome=outcome, after=_place(after)))
    last = found[count - 1] if len(found) > count else None
    return {"calls": found[:count], "next": None if last is None else f"{last['occurred_at']:{_MOMENT}}/{last['entry_id']}"}


_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


def _place(after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    at, _, entry_id = after.partition("/")
    try:
        return datetime.strptime(at, _MOMENT).replace(tzinfo=UTC), entry_id
    except ValueError:
        raise wrong_field("after", "is not what `next` of a page said") from None


def _totals(sums: Any) -> dict[str, Any]:
    return {**plain(sums), "tokens": sums.tokens, "coverage": sums.coverage}


def _rows(table: Any) -> list[dict[str, Any]]:
    return [plain(row) for row in table.to_pylist()]


def _filters(request: Request) -> dict[str, tuple[str, ...]]:
    filters: dict[str, tuple[str, ...]] = {}
    for name, value in request.query_params.multi_items():
        if name not in DIMENSIONS and not name.startswith("tag."):
            continue  # of the endpoint itself: others do not come so far
        filters[name] = (*filters.get(name, ()), value)
    tenant = request.state.caller.tenant
    if tenant is not None and set(filters.setdefault("tenant", (tenant,))) != {tenant}:
        raise Problem(403, f"{request.state.caller.name} speaks for tenant {tenant!r} only", name="forbidden")
    return filters


def _selection(request: Request, since: datetime | None, until: datetime | None) -> Selection:
    now = datetime.now(UTC)
    since = since or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    try:
        return Selection(since=since, until=until or now, filters=_filters(request))
    except ValueError as error:
        raise wrong_field("until", str(error)) from None


@contextmanager
def _ledger(request: Request, as_known_on: datetime | None = None) -> Generator[duckdb.DuckDBPyConnection]:
    connection = connect(request.app.state.collector.data, as_known_on=as_known_on)
    try:
        yield connection
    finally:
        connection.close()
