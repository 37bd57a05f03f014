"""What a new rule could price of the past: the re-rating to offer to whoever made it."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from spanledger.collector.pricing.desk import PriceDesk
from spanledger.collector.pricing.queries import rows
from spanledger.collector.pricing.rerate import Range
from spanledger.prices.rule_form import scope_of

#: How far back is looked, and how many calls are priced to say how many would change: more of them take seconds.
BACK = timedelta(days=90)
MOST_CALLS = 200_000


def offer(desk: PriceDesk, rule: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{"calls", "rerate"}`: the arguments of a re-rating that takes up calls without a price which the rule covers, and how many
    calls it would change, as its own preview says; None for the number where there are too many to price them for that.
    None where there is nothing to take up."""
    if not rule["rates"] and not rule["same_as"]:
        return None
    now = datetime.now(UTC)
    earliest = datetime.combine((now - BACK).date(), time(), UTC)
    since = max(earliest, rule["valid_from"] or earliest)
    until = min(now, rule["valid_to"] or now)
    if until <= since:
        return None
    kind, whom = scope_of(rule["scope"])
    over = Range(since=since, until=until, tenant=whom if kind == "tenant" else None, unpriced_only=True)
    with desk.read() as connection:
        found = rows(connection, "unpriced", since=since, until=until)
    mine = {(one["provider"], one["model"]): 0 for one in found if _covers(desk, rule, one["provider"], one["model"])}
    if not mine:
        return None
    if len(mine) == 1:
        [(provider, model)] = mine
        over = Range(since=since, until=until, provider=provider, model=model, tenant=over.tenant, unpriced_only=True)
    waiting = sum(one["calls"] for one in found)
    calls = None if waiting > MOST_CALLS else _changed(desk, over, rule)
    return None if calls == 0 else {"calls": calls, "rerate": _arguments(over, rule, now)}


def _changed(desk: PriceDesk, over: Range, rule: Mapping[str, Any]) -> int:
    found = desk.rerate(over, who="spanledger")
    return found.changed if any(_covers(desk, rule, line.provider, line.model) for line in found.lines) else 0


def _covers(desk: PriceDesk, rule: Mapping[str, Any], provider: str | None, model: str | None) -> bool:
    """Whether the rule has a say in some call of that name."""
    kind, whom = scope_of(rule["scope"])
    priced = desk.prices.cells(
        provider, model, service_tier=None if rule["tier"] == "*" else rule["tier"], belongs=[(kind, whom)],
        region=None if rule["region"] == "*" else rule["region"],
    )  # fmt: skip
    return rule["id"] in priced.rules


def _arguments(over: Range, rule: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    given = {"since": over.since, "until": over.until if over.until < now else None, "provider": over.provider,
             "model": over.model, "tenant": over.tenant, "unpriced_only": True}  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}
