"""The limits and tiers that are in force: adds, changes and removes them, and counts each before any check is asked by it."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import duckdb

from spanledger.control import TABLES, Change, Control, NotFound
from spanledger.limits import rows
from spanledger.limits.counters import Counters, CountersAway, Hold, Part, Posting
from spanledger.limits.counting import recount
from spanledger.limits.covering import Covering
from spanledger.limits.errors import LimitError
from spanledger.limits.limit import Limit
from spanledger.limits.memory import MemoryCounters
from spanledger.limits.terms import Terms, Tier, configured_tiers, tier_row
from spanledger.limits.window import micros

logger = logging.getLogger(__name__)

SEEN = "select entry_id from entries where entry_id in (select unnest($1::varchar[]))"


class Rulebook:
    """Rows of the control database as a `Covering`. `step` is held while they change.

    `changed` is told which limits were counted anew here, once they are in force.
    """

    def __init__(
        self,
        control: Control,
        counters: Counters,
        step: threading.RLock,
        clock: Callable[[], datetime],
        history: Callable[[], duckdb.DuckDBPyConnection] | None,
        changed: Callable[[Iterable[Limit]], None],
        parts_of: Callable[[Covering, Hold, Collection[str]], Sequence[Part]],
    ) -> None:
        self._control, self._counters, self._step = control, counters, step
        self._clock, self._history, self._changed, self._parts_of = clock, history, changed, parts_of
        self.covering = Covering((rows.limit_of(row) for row in control.rows(rows.TABLE)), Terms.load(control))

    def create(self, fields: Mapping[str, Any], *, who: str, why: str | None) -> Limit:
        """Raises `LimitError`."""
        with self._step:
            limit = Limit.of(_tiered(fields, self.covering.terms), limit_id=rows.new_id(), created_at=self._clock())
            with self._control.change(who=who, why=why) as change:
                rows.insert(change, limit)
            self._use([*self.covering.limits.values(), limit], [limit])
        return limit

    def update(self, limit_id: str, fields: Mapping[str, Any], *, who: str, why: str | None) -> Limit:
        """Raises `LimitError`, `NotFound`."""
        with self._step:
            was = self.covering.limits.get(limit_id)
            if was is None:
                raise NotFound(f"there is no limit {limit_id!r}")
            rows.may_change(was)
            given = _tiered({**was.fields(), **fields}, self.covering.terms)
            limit = Limit.of(given, limit_id=limit_id, created_at=was.created_at)
            with self._control.change(who=who, why=why) as change:
                rows.update(change, limit)
            self._use([*(x for x in self.covering.limits.values() if x.id != limit_id), limit], [limit])
        return limit

    def delete(self, limit_id: str, *, who: str, why: str | None) -> None:
        """Raises `NotFound`, `LimitError`."""
        with self._step:
            if was := self.covering.limits.get(limit_id):
                rows.may_change(was)
            with self._control.change(who=who, why=why) as change:
                rows.delete(change, limit_id)
                for pause in self.covering.terms.pauses:
                    if pause.limit_id == limit_id:
                        change.delete(TABLES["pauses"], pause.id)
            self._use([limit for limit in self.covering.limits.values() if limit.id != limit_id], [])
            try:
                self._counters.forget(limit_id)
            except CountersAway as away:
                logger.warning("the buckets of a limit that is removed stay until they fade: %s", away)

    def configure(self, limits: Sequence[Mapping[str, Any]], tiers: Sequence[Mapping[str, Any]], *, count: bool) -> None:
        """Raises `LimitError` with the place in the list."""
        with self._step:
            before = {limit.name: limit for limit in self.covering.limits.values() if limit.source == "config"}
            others = [tier for tier in self.covering.terms.tiers if tier.source != "config"]
            wanted_tiers = configured_tiers(tiers, self.covering.terms.tiers)
            terms = replace(self.covering.terms, tiers=(*others, *wanted_tiers))
            wanted = self._configured(limits, before, terms)
            with self._control.change(who="configuration") as change:
                for name, limit in before.items():
                    if name not in wanted:
                        rows.delete(change, limit.id)
                self._write_tiers(change, wanted_tiers)
                for name, limit in wanted.items():
                    (rows.update if name in before else rows.insert)(change, limit)
            kept = [limit for limit in self.covering.limits.values() if limit.source != "config"]
            changed = [limit for name, limit in wanted.items() if before.get(name) != limit]
            self._use([*kept, *wanted.values()], changed if count else ())

    def reload(self, *, recount: Sequence[str], counted: bool) -> None:
        """Take all from the control database as it is there now."""
        with self._step:
            found = [rows.limit_of(row) for row in self._control.rows(rows.TABLE)]
            known = self.covering.limits
            changed = [limit for limit in found if limit.id in recount or (not counted and known.get(limit.id) != limit)]
            self._use(found, changed, again=False)

    def count(self, connection: duckdb.DuckDBPyConnection, limits: Sequence[Limit], covering: Covering | None = None) -> None:
        """Count some limits anew from the ledger, as it was after the counters' `begin_count`."""
        now = micros(self._clock())
        for alike, amounts in recount(connection, covering or self.covering, limits, now):
            meanwhile = self._counters.replace([limit.id for limit in alike], amounts, now)
            if meanwhile:
                seen = {entry_id for (entry_id,) in connection.execute(SEEN, [[p.entry_id for p in meanwhile]]).fetchall()}
                unseen = [amount for posting in meanwhile if posting.entry_id not in seen for amount in posting.amounts]
                self._counters.post([Posting(None, None, unseen)], now)

    def _use(self, limits: Sequence[Limit], changed: Sequence[Limit], *, again: bool = True) -> None:
        """Count what is new or changed, then ask by it: no check sees a limit that has not counted yet."""
        covering = Covering(limits, Terms.load(self._control))
        wanted = [limit for limit in changed if limit.enabled]
        if wanted and self._history is not None:
            try:
                self._counters.begin_count([limit.id for limit in wanted], micros(self._clock()))
                with self._history() as connection:
                    self.count(connection, wanted, covering)
            except CountersAway as away:
                logger.warning("limits are counted once the counters are back: %s", away)
                again = True
        held = self._hold_anew(covering, changed)
        self.covering = covering
        # What was asked for between the two lines above.
        self._hold_anew(covering, changed, held)
        self._changed(wanted if again and self._history is not None else ())

    def _hold_anew(self, covering: Covering, changed: Sequence[Limit], but: Collection[str] = ()) -> Collection[str]:
        """A limit that is new or changed covers the calls that are in flight."""
        ids = frozenset(limit.id for limit in changed)
        if not ids or not isinstance(self._counters, MemoryCounters):
            return ()
        return self._counters.hold_anew(ids, lambda hold: self._parts_of(covering, hold, ids), but)

    def _configured(self, limits: Sequence[Mapping[str, Any]], before: Mapping[str, Limit], terms: Terms) -> dict[str, Limit]:
        wanted: dict[str, Limit] = {}
        for place, fields in enumerate(limits):
            try:
                limit = rows.configured(place, _tiered(fields, terms), self._clock())
            except LimitError as error:
                within = "" if error.field.startswith("limits[") else f"limits[{place}]."
                raise LimitError(f"{within}{error.field}", error.text) from None
            if limit.name in wanted:
                raise LimitError(f"limits[{place}].name", f"{limit.name!r} is the name of two limits")
            was = before.get(limit.name)
            wanted[limit.name] = replace(limit, id=was.id, created_at=was.created_at) if was else limit
        return wanted

    def _write_tiers(self, change: Change, wanted: Sequence[Tier]) -> None:
        before = {tier.id: tier for tier in self.covering.terms.tiers if tier.source == "config"}
        for tier_id in before.keys() - {tier.id for tier in wanted}:
            name = before[tier_id].name
            if any(limit.tier == name and limit.source != "config" for limit in self.covering.limits.values()):
                raise LimitError("tiers", f"limits that the API made are of tier {name!r}; remove them first")
            change.delete(TABLES["tiers"], tier_id)
        for tier in wanted:
            if tier.id not in before:
                change.insert(TABLES["tiers"], tier_row(tier))
            elif before[tier.id] != tier:
                change.update(TABLES["tiers"], tier.id, tier_row(tier))


def _tiered(fields: Mapping[str, Any], terms: Terms) -> Mapping[str, Any]:
    """A limit of a tier counts per value of the tier's dimension, unless it says otherwise. Raises `LimitError`."""
    name = fields.get("tier")
    if name is None:
        return fields
    tier = terms.tier(name)
    if tier is None:
        raise LimitError("tier", f"there is no tier {name!r}; make it first")
    return fields if fields.get("per") else {**fields, "per": [tier.dimension]}
