"""What a limit would have done: over the ledger's history, whom it would have refused or warned, and what that saves.

Each call is taken as a check that knows its size exactly, at what it costs by now. A refused call is taken as not made, so it
uses nothing; what an application would have done instead is not known. Calls are taken one after another, in the order they
began. Top-ups and overrides count while they were in force, and what was left rolls over; resets and pauses are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from spanledger.limits.carried import rest_of
from spanledger.limits.counters.counters import Key, Place
from spanledger.limits.covering import Covering, place_of, scope_of
from spanledger.limits.limit import USD, Limit
from spanledger.limits.tally import Tally
from spanledger.limits.terms import Terms
from spanledger.limits.window import Calendar, Lifetime, Rolling, micros, moment

HISTORY = (Path(__file__).parent / "sql" / "backtest.sql").read_text()
#: Buckets that are listed, most refusals first; the sums are over all.
LISTED = 100
_NAMES = ("tenant", "project", "user", "agent", "session", "environment", "service", "operation", "provider", "model", "trace")


@dataclass(slots=True)
class Spell:
    """One bucket in which calls would have been warned or refused."""

    scope: str
    window_start: datetime | None
    warned: int = 0
    refused: int = 0
    first_refused_at: datetime | None = None
    last_refused_at: datetime | None = None
    saved_usd: Decimal = Decimal(0)


@dataclass(slots=True)
class Backtest:
    """What a limit would have done in [since, until). `saved_usd` is what the refused calls cost, as far as it is priced."""

    since: datetime
    until: datetime
    calls: int = 0
    covered: int = 0
    warned: int = 0
    refused: int = 0
    refused_unpriced: int = 0
    cost_usd: Decimal = Decimal(0)
    saved_usd: Decimal = Decimal(0)
    buckets: list[Spell] = field(default_factory=list)


@dataclass(slots=True)
class _Running:
    used: int = 0
    slots: dict[int, int] = field(default_factory=dict)


def backtest(connection: duckdb.DuckDBPyConnection, limit: Limit, terms: Terms, *, since: datetime, until: datetime) -> Backtest:
    """Run a limit over the ledger's history, enabled or not and whenever it is valid. What lies in its window before `since`
    counts as used, and refuses nobody."""
    covering = Covering([replace(limit, enabled=True)], replace(terms, read_at=None))
    since = max(since, moment(0))
    found = Backtest(since=since, until=until)
    running: dict[tuple[int, Key], _Running] = {}
    spells: dict[tuple[int, Key], Spell] = {}
    for tally, usd, is_call in _tallies(connection, _begin(limit, since), until):
        counts = tally.at >= micros(since)
        found.calls += tally.calls if counts else 0
        # What is no call, or tells of several at once, just moves what is used.
        asks = counts and is_call and tally.calls == 1
        for covered in covering.all(tally.subject, tally.at).limits:
            place = covered.at(tally.at)
            bucket = running.setdefault((place.start, covered.key), _Running())
            units = tally.amount(limit)
            used = _used(bucket, place, tally.at)
            cap = covered.cap_at(tally.at) + _carried(limit, covered.key, place, running)
            beyond = used + max(units, 1) > cap or _unpriced(limit, usd)
            refused = asks and limit.refuses and beyond
            if not refused:
                _use(bucket, place, tally.at, units)
            if not asks:
                continue
            found.covered += 1
            found.cost_usd += usd or 0
            first = covered.warns_from(cap)
            warned = not refused and (beyond or (first is not None and used + units >= first))
            if refused or warned:
                start = None if place.width or isinstance(limit.window, Lifetime) else moment(place.start)
                spell = spells.setdefault((place.start, covered.key), Spell(scope_of(limit, covered.key), start))
                _note(found, spell, moment(tally.at), usd, refused=refused)
    found.buckets = sorted(spells.values(), key=lambda spell: (-spell.refused, -spell.warned, spell.scope))[:LISTED]
    return found


def _begin(limit: Limit, since: datetime) -> datetime:
    if isinstance(limit.window, Rolling):
        return since - timedelta(seconds=limit.window.seconds)
    if isinstance(limit.window, Calendar):
        start = limit.window.span(micros(since))[0]
        return moment(limit.window.span(start - 1)[0] if limit.rollover else start)
    return moment(0)


def _carried(limit: Limit, key: Key, place: Place, running: Mapping[tuple[int, Key], _Running]) -> int:
    if not limit.rollover:
        return 0
    before = running.get((place_of(limit, key, place.start - 1).start, key))
    return rest_of(limit, before.used if before else 0)


def _unpriced(limit: Limit, usd: Decimal | None) -> bool:
    return usd is None and limit.measure == "cost_usd" and limit.unpriced == "refuse"


def _note(found: Backtest, spell: Spell, at: datetime, usd: Decimal | None, *, refused: bool) -> None:
    if not refused:
        found.warned += 1
        spell.warned += 1
        return
    found.refused += 1
    spell.refused += 1
    found.refused_unpriced += usd is None
    found.saved_usd += usd or 0
    spell.saved_usd += usd or 0
    spell.first_refused_at = spell.first_refused_at or at
    spell.last_refused_at = at


def _used(bucket: _Running, place: Place, at: int) -> int:
    if place.width:
        oldest = (at - place.length) // place.width
        for slot in [slot for slot in bucket.slots if slot < oldest]:
            bucket.used -= bucket.slots.pop(slot)
    return bucket.used


def _use(bucket: _Running, place: Place, at: int, units: int) -> None:
    bucket.used += units
    if place.width:
        slot = at // place.width
        bucket.slots[slot] = bucket.slots.get(slot, 0) + units


def _tallies(
    connection: duckdb.DuckDBPyConnection, since: datetime, until: datetime
) -> Iterator[tuple[Tally, Decimal | None, bool]]:
    rows = connection.execute(HISTORY, {"since": since, "until": until})
    while batch := rows.fetchmany(10_000):
        for at, *who, tags, is_call, calls, input_tokens, output_tokens, usd in batch:
            subject: dict[str, Any] = dict(zip(_NAMES, who, strict=True))
            for pair in tags or ():
                subject[f"tag.{pair['key']}"] = pair["value"]
            cost = 0 if usd is None else int(usd * USD)
            unpriced = input_tokens + output_tokens if usd is None else 0
            yield Tally(subject, at, calls, input_tokens, output_tokens, cost, unpriced), usd, is_call
