"""Turns entries into what counters add, from a batch or from all of the ledger's history."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import duckdb
import polars as pl

from spanledger.limits.counters.counters import Amount, Posting
from spanledger.limits.covering import FADES_SECONDS, Covering, fades, place_of
from spanledger.limits.limit import Limit
from spanledger.limits.tally import Shape, Tally, of_entries, of_history
from spanledger.limits.window import SECOND, Calendar, Window, moment

SEEN = "select entry_id from entries where entry_id in (select unnest($1::varchar[]))"
NEWEST = "select entry_id from entries where recorded_at >= $1"
#: Who commits entries posts them a moment later; a collector that hangs for longer between the two counts them twice.
UNPOSTED_SECONDS = 60


class LedgerSnapshot:
    """What a connection on the ledger sees, as `Snapshot` of the counters."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, now: int) -> None:
        """`now`: microseconds since 1970."""
        self._connection, self._since = connection, moment(now - UNPOSTED_SECONDS * SECOND)

    def seen(self, entry_ids: Sequence[str]) -> set[str]:
        """Those of these entries that are in the ledger."""
        return {entry_id for (entry_id,) in self._connection.execute(SEEN, [entry_ids]).fetchall()}

    @cached_property
    def _newest(self) -> list[str]:
        return [entry_id for (entry_id,) in self._connection.execute(NEWEST, [self._since]).fetchall()]

    def newest(self) -> list[str]:
        """What the ledger has learned in the last minute."""
        return self._newest


def postings(covering: Covering, entries: pl.DataFrame, now: int, *, each: bool) -> list[Posting]:
    """What a batch does to the counters; `each` entry by itself where a batch may be delivered twice."""
    shape = Shape(frozenset(name for limit in covering.enabled for name in covering.dimensions(limit)))
    tallies = of_entries(entries, shape, covering.enabled, each=each)
    if each:
        found = [Posting(tally.entry_id, tally.hold_id, list(_amounts(covering, (tally,), now))) for tally in tallies]
        return [posting for posting in found if posting.amounts or posting.hold_id is not None]
    held = entries["hold_id"].drop_nulls().to_list() if "hold_id" in entries.columns else []
    return [*(Posting(None, hold_id, ()) for hold_id in held), Posting(None, None, list(_amounts(covering, tallies, now)))]


def recount(
    connection: duckdb.DuckDBPyConnection, covering: Covering, limits: Sequence[Limit], now: int
) -> Iterator[tuple[list[Limit], Iterator[Amount]]]:
    """All that the ledger says about limits now, those alike together: one query for each shape and window.

    The amounts come as they are read, and must be taken before those of the next limits are asked for.
    """
    alike: dict[tuple[frozenset[str], str, bool], list[Limit]] = {}
    for limit in limits:
        alike.setdefault((covering.dimensions(limit), repr(limit.window.fields()), fades(limit)), []).append(limit)
    for (dimensions, _, _), found in alike.items():
        forgotten = (amount for limit in found for amount in _forgotten(covering, limit, now))
        yield found, itertools.chain(_counted(connection, covering, found, Shape(dimensions), now), forgotten)


def _counted(
    connection: duckdb.DuckDBPyConnection, covering: Covering, limits: Sequence[Limit], shape: Shape, now: int
) -> Iterator[Amount]:
    # What counts does not depend on whether a limit is in force, or it would begin at nothing when it comes to be.
    of = Covering([replace(limit, enabled=True, valid_from=None, valid_to=None) for limit in limits], covering.terms)
    window = limits[0].window
    used_since = now - FADES_SECONDS * SECOND if fades(limits[0]) else None
    for begin in _windows(window, now, before=any(limit.rollover for limit in limits)):
        for amount in _amounts(of, of_history(connection, shape, window, begin, used_since=used_since), now):
            if not isinstance(window, Calendar) or begin == now or amount.place.end <= now:
                yield amount


def _windows(window: Window, now: int, *, before: bool) -> tuple[int, ...]:
    """A moment in each window that must be counted: this one, and the one before where its rest rolls over."""
    return (window.span(now)[0] - 1, now) if before else (now,)


def _amounts(covering: Covering, tallies: Iterable[Tally], now: int) -> Iterator[Amount]:
    for tally in tallies:
        for covered in covering.all(tally.subject, tally.at).limits:
            units = tally.amount(covered.limit)
            place = covered.at(tally.at)
            # The ledger remembers windows that are over; counters need the last one only where its rest rolls over.
            if units and (place.end > now or covered.limit.rollover):
                yield Amount(place, tally.at, units)


def _forgotten(covering: Covering, limit: Limit, now: int) -> list[Amount]:
    """What resets took away, as negative amounts at the moments at which it had been counted."""
    return [
        Amount(place_of(limit, reset.key, at), at, -units)
        for reset in covering.terms.resets.get(limit.id, ())
        for at, units in reset.forgotten
        if limit.rollover or place_of(limit, reset.key, at).end > now
    ]
