"""Fixed monthly costs (provisioned capacity, commitments) as entries of the ledger: a share for every day.

The shares of a month sum to its amount to the last digit, also where a rule begins or ends within a day: of that day it has what
it lasts. What is due is what the rules say less what was posted, so
that posting twice posts nothing, and a corrected rule corrects the days before. An entry's id follows from the rule, the
day and how many came before it.
"""

import hashlib
from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from spanledger.collector.pricing.queries import rows
from spanledger.collector.pricing.rules import PriceRules
from spanledger.prices.cell import MICROSECOND
from spanledger.prices.rule_form import scope_of

LAST_DIGIT = Decimal("1e-12")
_MONEY = pl.Decimal(20, 12)
_SCHEMA: dict[str, Any] = {
    "entry_id": pl.String, "kind": pl.String, "reason": pl.String, "rule": pl.String,
    "occurred_at": pl.Datetime("us", "UTC"), "recorded_at": pl.Datetime("us", "UTC"), "day": pl.Date,
    "tenant": pl.String, "project": pl.String, "api_key_id": pl.String,
    "tags": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
    "provider": pl.String, "model": pl.String, "calls": pl.Int64, "cost_usd": _MONEY, "other_cost_usd": _MONEY,
    "list_cost_usd": _MONEY, "cost_state": pl.String, "priced_as": pl.String, "flags": pl.List(pl.String), "outcome": pl.String,
}  # fmt: skip


def due(
    connection: duckdb.DuckDBPyConnection, rules: PriceRules, *, now: datetime, revision: str, free: bool = False
) -> pl.DataFrame:
    """The entries that are missing up to today, under the `revision` of the prices. Where everything is `free` they cost nothing
    and keep their list cost, which says what was posted."""
    wanted: dict[tuple[str, date], tuple[Decimal, Mapping[str, Any]]] = {}
    for row in rules.monthly():
        root = rules.history(row["id"])[-1]["id"]
        for day, share in _shares(row, now):
            so_far = wanted.get((root, day), (Decimal(0), row))[0]
            wanted[root, day] = so_far + share, row
    posted = {
        (one["rule"].removeprefix("monthly:"), one["day"]): one
        for one in rows(connection, "monthly_posted", since=date(2000, 1, 1))
    }
    entries: list[dict[str, Any]] = []
    for (root, day), (share, rule) in sorted(wanted.items(), key=lambda one: one[0]):
        before = posted.get((root, day), _NOTHING)
        amount = share - before["list_cost_usd"]
        # A day stays what it was when it was posted, whatever the profile is now.
        nothing = before["cost_usd"] == 0 if before["list_cost_usd"] else free
        cost = Decimal(0) if nothing else amount
        entries.append(_entry(root, day, before["entries"], amount, cost, rule, now))
    # A rule that is gone, or that ends earlier now: what was posted for its days is taken back.
    known = {row["id"]: row for row in _ever(rules)}
    entries += [
        _entry(root, day, was["entries"], -was["list_cost_usd"], -was["cost_usd"], known[root], now)
        for (root, day), was in posted.items()
        if (root, day) not in wanted and root in known
    ]
    made = pl.DataFrame([entry for entry in entries if entry["list_cost_usd"]], schema=_SCHEMA)
    return made.with_columns(price_revision=pl.lit(revision))


def _ever(rules: PriceRules) -> list[dict[str, Any]]:
    from spanledger.control.tables import price_rules

    return rules.control.rows(price_rules, price_rules.c.monthly_usd.is_not(None))


def _shares(row: Mapping[str, Any], now: datetime) -> Iterator[tuple[date, Decimal]]:
    """Each day's share of the month's amount, for the days that have begun on which the rule is in force."""
    first: datetime = row["valid_from"]
    last: datetime | None = row["valid_to"]
    begins = datetime.combine(first.date(), time(), UTC)
    while (since := max(first, begins)) < now and (last is None or since < last):
        ends = begins + timedelta(days=1)
        until = ends if last is None else min(last, ends)
        share = _upto(row["monthly_usd"], begins, until) - _upto(row["monthly_usd"], begins, since)
        yield begins.date(), share
        begins = ends


def _upto(monthly: Decimal, day: datetime, at: datetime) -> Decimal:
    """What of a month's amount is spent from its beginning to a moment of one of its days, to the last digit."""
    length = timedelta(days=monthrange(day.year, day.month)[1])
    return (monthly * ((at - day.replace(day=1)) // MICROSECOND) / (length // MICROSECOND)).quantize(LAST_DIGIT)


_NOTHING: Mapping[str, Any] = {"list_cost_usd": Decimal(0), "cost_usd": Decimal(0), "entries": 0}


def _entry(
    root: str, day: date, number: int, amount: Decimal, cost: Decimal, row: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    kind, value = scope_of(row["scope"])
    tag = [{"key": value.partition("=")[0], "value": value.partition("=")[2]}] if kind == "tag" else []
    return {
        "entry_id": hashlib.blake2b(f"monthly {root} {day} {number}".encode(), digest_size=16).hexdigest(),
        "kind": "adjustment",
        "reason": f"fixed monthly cost: {row['note'] or root}",
        "rule": f"monthly:{root}",
        "occurred_at": datetime.combine(day, time(), UTC),
        "recorded_at": now,
        "day": day,
        "tenant": value if kind == "tenant" else None,
        "project": value if kind == "project" else None,
        "api_key_id": value if kind == "key" else None,
        "tags": tag,
        "provider": None if row["provider"] == "*" else row["provider"],
        "model": None if row["model"] == "*" else row["model"],
        "calls": 0,
        "cost_usd": cost,
        "other_cost_usd": cost,
        "list_cost_usd": amount,
        "cost_state": "priced" if cost else "free",
        "priced_as": None,
        "flags": ["fixed_cost"],
        "outcome": "ok",
    }
