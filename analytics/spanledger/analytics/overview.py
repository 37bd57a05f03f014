"""The figures people look at first: today, this month, and what the month will have cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb

from spanledger.analytics.projection import HISTORY, Day, Projection, daily_average, full_days, project, usual_by_now
from spanledger.analytics.query import run
from spanledger.analytics.selection import Selection
from spanledger.analytics.spend import Totals, totals
from spanledger.ledger.rollup import SLOT_MINUTES

_QUARTER = timedelta(minutes=SLOT_MINUTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Days and months are UTC. Averages and the projection are null while there is no full day to go by.

    `daily_average_usd` is over the last 28 full days at most; `usual_by_now_usd` is what a day like today has usually
    cost by this time, to the quarter of an hour. Unpriced calls add nothing to any sum: `today.coverage` and
    `month.coverage` say how much that is.
    """

    now: datetime
    today: Totals
    month: Totals
    last_month: Totals
    daily_average_usd: Decimal | None
    usual_by_now_usd: Decimal | None
    projection: Projection | None


def overview(
    connection: duckdb.DuckDBPyConnection, now: datetime, *, filters: Mapping[str, tuple[str, ...]] | None = None
) -> Overview:
    """The figures as of `now`, an aware moment, for the entries that pass the filters."""
    now = now.astimezone(UTC)
    wanted = filters or {}
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = midnight + timedelta(days=1)
    month = midnight.replace(day=1)
    last_month = (month - timedelta(days=1)).replace(day=1)

    def sums(since: datetime, until: datetime) -> Totals:
        return totals(connection, Selection(since=since, until=until, filters=wanted))

    this_month = sums(month, tomorrow)
    history = _history(connection, midnight, now, wanted)
    return Overview(
        now=now,
        today=sums(midnight, tomorrow),
        month=this_month,
        last_month=sums(last_month, month),
        daily_average_usd=daily_average(history),
        usual_by_now_usd=usual_by_now(history, midnight.date()),
        projection=project(history, today=midnight.date(), month_to_date_usd=this_month.cost_usd or Decimal(0)),
    )


def _history(
    connection: duckdb.DuckDBPyConnection, midnight: datetime, now: datetime, filters: Mapping[str, tuple[str, ...]]
) -> list[Day]:
    since = midnight - timedelta(days=HISTORY)
    selection = Selection(since=since, until=midnight, filters=filters)
    # The roll-up knows quarters of an hour: what usually comes is asked from the last full one on.
    time_of_day = (now - midnight) // _QUARTER * _QUARTER
    rows = run(connection, "daily_spend", selection.source(), time_of_day=time_of_day, **selection.bound).to_pylist()
    days = [Day(day=row["day"], cost_usd=row["cost_usd"], later_cost_usd=row["later_cost_usd"]) for row in rows]
    return full_days(days, since=since.date(), today=midnight.date())
