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
from spanledger.limits.counters.counters import Counters, CountersAway, Hold, Part
from spanledger.limits.counting import LedgerSnapshot, recount
from spanledger.limits.covering import Covering
from spanledger.limits.errors import LimitError
from spanledger.limits.expects import Expects
from spanledger.limits.limit import Limit
from spanledger.limits.settling import as_said
from spanledger.limits.terms import Terms, Tier, configured_tiers, moved_between, tier_row
from spanledger.limits.window import micros

logger = logging.getLogger(__name__)


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
        self.covering = Covering((rows.limit_of(row) for row in control.rows(rows.TABLE)), Terms.load(control, clock()))

    def create(self, fields: Mapping[str, Any], *, who: str, why: str | None) -> Limit:
        """Raises `LimitError`."""
        with self._step:
            limit = Limit.of(_tiered(fields, self.covering.terms), limit_id=rows.new_id(), created_at=self._clock())
            with self._control.change(who=who, why=why) as change:
                rows.insert(change, limit)
            self._use([*self.covering.limits.values(), limit], [limit])
        return limit

    def update(self, limit_id: str, fields: Mapping[str, Any], *, who: str, why: str | None, expects: Expects) -> Limit:
        """Raises `LimitError`, `NotFound`, and what `expects` does of the limit as it is when nobody else can change it."""
        with self._step:
            with self._control.change(who=who, why=why) as change:
                # Read here: what another collector changed in the last second is not known yet, and would be undone.
                was = self._expected(limit_id, expects)
                given = _tiered({**was.fields(), **fields}, Terms.load(self._control))
                limit = Limit.of(given, limit_id=limit_id, created_at=was.created_at)
                rows.update(change, limit)
            self._use([*(x for x in self.covering.limits.values() if x.id != limit_id), limit], [limit])
        return limit

    def delete(self, limit_id: str, *, who: str, why: str | None, expects: Expects) -> None:
        """Raises as `update`."""
        with self._step:
            with self._control.change(who=who, why=why) as change:
                self._expected(limit_id, expects)
                rows.delete(change, limit_id)
            limits = [limit for limit in self.covering.limits.values() if limit.id != limit_id]
            self._use(limits, ())
            try:
                self._counters.forget(limit_id)
            except CountersAway as away:
                logger.warning("the buckets of a limit that is removed stay until they fade: %s", away)

    def configure(self, limits: Sequence[Mapping[str, Any]], tiers: Sequence[Mapping[str, Any]], *, count: bool) -> list[Limit]:
        """Gives those that are new or otherwise than they were. Raises `LimitError` with the place in the list."""
        with self._step:
            with self._control.change(who="configuration") as change:
                # Read here: another collector that starts just now may have written the same ones.
                found, known = self._found()[0], Terms.load(self._control).tiers
                before = {limit.name: limit for limit in found if limit.source == "config"}
                wanted_tiers = configured_tiers(tiers, known)
                others = tuple(tier for tier in known if tier.source != "config")
                wanted = self._configured(limits, before, replace(self.covering.terms, tiers=(*others, *wanted_tiers)))
                for name, limit in before.items():
                    if name not in wanted:
                        rows.delete(change, limit.id)
                _write_tiers(change, known, wanted_tiers, found)
                for name, limit in wanted.items():
                    (rows.update if name in before else rows.insert)(change, limit)
            kept = [limit for limit in found if limit.source != "config"]
            changed = [limit for limit in (*kept, *wanted.values()) if self.covering.limits.get(limit.id) != limit]
            self._use([*kept, *wanted.values()], changed, count=count)
            return changed

    def reload(self) -> None:
        """Take all from the control database as it is there after a change that was made here."""
        with self._step:
            found, changed = self._found()
            self._use(found, changed)

    def follow(self) -> None:
        """Take all from the control database after a change that another collector made, and has counted."""
        with self._step:
            found, changed = self._found()
            self._use(found, changed, count=False, own=True)

    def count_again(self, limit_ids: Collection[str]) -> None:
        """Count these limits once more, since others counted and held by the old ones until they followed."""
        with self._step:
            found, changed = self._found()
            self._use(found, [*changed, *(limit for limit in found if limit.id in limit_ids)], again=False)

    def hold_again(self) -> None:
        """Let what this process held before the counters were lost be held as the limits are by now."""
        with self._step:
            self._hold_anew(self.covering, self.covering.limits.keys(), own=True)

    def count(self, connection: duckdb.DuckDBPyConnection, limits: Sequence[Limit], covering: Covering | None = None) -> None:
        """Count some limits anew from the ledger, as it was after the counters' `begin_count`."""
        now = micros(self._clock())
        snapshot = LedgerSnapshot(connection, now)
        for alike, amounts in recount(connection, covering or self.covering, limits, now):
            self._counters.replace([limit.id for limit in alike], amounts, now, snapshot)

    def _expected(self, limit_id: str, expects: Expects) -> Limit:
        row = next(iter(self._control.rows(rows.TABLE, rows.TABLE.c.id == limit_id)), None)
        if row is None:
            raise NotFound(f"there is no limit {limit_id!r}")
        was = rows.limit_of(row)
        expects(was)
        rows.may_change(was)
        return was

    def _found(self) -> tuple[list[Limit], list[Limit]]:
        """All limits as they are in the control database, and those that are otherwise here."""
        found = [rows.limit_of(row) for row in self._control.rows(rows.TABLE)]
        return found, [limit for limit in found if self.covering.limits.get(limit.id) != limit]

    def _use(
        self, limits: Sequence[Limit], changed: Sequence[Limit], *, count: bool = True, again: bool = True, own: bool = False
    ) -> None:
        """Count what is new or changed and let it hold the calls in flight, then ask by it: no check sees a limit before.

        Without `count`, someone else has counted, or will. `again`: it must be counted once more when others have followed.
        `own`: whoever changed it has seen to the holds of others.
        """
        covering = Covering(limits, Terms.load(self._control, self._clock()))
        moved = moved_between(self.covering.terms, covering.terms)
        changed = [*changed, *(limit for limit in limits if covering.tier_dimension(limit) in moved)]
        gone = self.covering.limits.keys() - covering.limits.keys()
        ids = gone.union(limit.id for limit in changed)
        wanted = [limit for limit in covering.enabled if limit.id in ids] if count and self._history is not None else []
        held: Collection[str] = ()
        remeasured = _remeasured(self.covering.limits, covering.limits, ids)
        try:
            self._count_now(wanted, covering)
            held = self._hold_anew(covering, ids, remeasured=remeasured, own=own)
        except CountersAway as away:
            logger.warning("limits count and hold once the counters are back: %s", away)
            again = True
        self.covering = covering
        try:
            # What was asked for between the two lines above.
            self._hold_anew(covering, ids, held, remeasured=remeasured, own=own)
        except CountersAway:
            again = True
        self._changed(wanted if again else ())

    def _count_now(self, limits: Sequence[Limit], covering: Covering) -> None:
        if limits and self._history is not None:
            self._counters.begin_count([limit.id for limit in limits], micros(self._clock()))
            with self._history() as connection:
                self.count(connection, limits, covering)

    def _hold_anew(
        self,
        covering: Covering,
        limit_ids: Collection[str],
        but: Collection[str] = (),
        *,
        remeasured: Collection[str] = (),
        own: bool,
    ) -> Collection[str]:
        """Limits that are new or changed cover the calls that are in flight, `but` for some; gives those looked at."""

        def parts_of(hold: Hold) -> Sequence[Part]:
            return as_said(hold, self._parts_of(covering, hold, limit_ids), remeasured)

        return self._counters.hold_anew(limit_ids, parts_of, but, own=own) if limit_ids else ()

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


def _remeasured(before: Mapping[str, Limit], after: Mapping[str, Limit], limit_ids: Iterable[str]) -> set[str]:
    both = (limit_id for limit_id in limit_ids if limit_id in before and limit_id in after)
    return {limit_id for limit_id in both if before[limit_id].measure != after[limit_id].measure}


def _write_tiers(change: Change, known: Sequence[Tier], wanted: Sequence[Tier], limits: Sequence[Limit]) -> None:
    before = {tier.id: tier for tier in known if tier.source == "config"}
    for tier_id in before.keys() - {tier.id for tier in wanted}:
        name = before[tier_id].name
        if any(limit.tier == name and limit.source != "config" for limit in limits):
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
