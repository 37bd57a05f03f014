"""Limits: what the rest of the house asks. Counts entries, answers checks, keeps the rows in the control database."""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from spanledger.control import Control, NotFound
from spanledger.limits import rows
from spanledger.limits.answer import Asked, retry_after, standing
from spanledger.limits.check import LONGEST_LEASE, LONGEST_WAIT_MS, Check, Verdict
from spanledger.limits.covering import Covering, place_of
from spanledger.limits.errors import LimitError
from spanledger.limits.limit import Limit, amount_of, units_of
from spanledger.limits.memory import Demand, Hold, MemoryCounters, Place
from spanledger.limits.size import Pricing, Size, size_of
from spanledger.limits.tally import Shape, Tally, of_entries, of_history
from spanledger.limits.window import SECOND, Window, micros, moment

logger = logging.getLogger(__name__)

#: How long a hold that was settled by hand waits for its entry.
CONFIRM_SECONDS = 3_600


def _now() -> datetime:
    return datetime.now(UTC)


class Limits:
    """All limits of one collector. Thread-safe: the collector's loop posts while the API asks."""

    def __init__(
        self,
        control: Control,
        prices: Pricing,
        *,
        history: Callable[[], duckdb.DuckDBPyConnection] | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._control = control
        self._prices = prices
        self._history = history
        self._clock = clock
        self._step = threading.RLock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._counters = MemoryCounters(self._wake)
        self._covering = Covering(rows.limit_of(row) for row in control.rows(rows.TABLE))

    # — entries —

    @contextmanager
    def in_step(self) -> Generator[None]:
        """Makes "commit to the ledger, then `post`" one step, so that a limit added meanwhile counts each entry once."""
        with self._step:
            yield

    def post(self, entries: pl.DataFrame) -> None:
        """Count a batch of entries, each in the window of its `occurred_at`, and settle the holds that it names."""
        covering = self._covering
        settled = [] if "hold_id" not in entries.columns else entries["hold_id"].drop_nulls().to_list()
        if not covering.enabled and not settled:
            return
        now = self._micros()
        amounts = self._amounts(covering, of_entries(entries, covering.enabled), now)
        self._counters.post(amounts, settled, now)

    def rebuild(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Count all limits anew from the ledger."""
        with self._step:
            self._recount(connection, self._covering.enabled)

    # — checks —

    def check(self, check: Check) -> Verdict:
        """Answer at once; a call that passes leaves a hold unless `dry_run`."""
        return self._try(check)[0]

    async def ask(self, check: Check) -> Verdict:
        """As `check`, but when only holds stand in the way, wait up to `wait_ms` for them to settle."""
        verdict, waits = self._try(check)
        if not waits or check.wait_ms <= 0:
            return verdict
        loop = asyncio.get_running_loop()
        until = loop.time() + min(check.wait_ms, LONGEST_WAIT_MS) / 1000
        wake = asyncio.Event()
        self._waiting.add((loop, wake))
        try:
            while waits and (left := until - loop.time()) > 0:
                wake.clear()
                # Something may have been released between the last answer and now.
                verdict, waits = self._try(check)
                if waits:
                    try:
                        await asyncio.wait_for(wake.wait(), left)
                    except TimeoutError:
                        break
        finally:
            self._waiting.discard((loop, wake))
        return verdict

    def release(self, hold_id: str) -> bool:
        """Set free what a hold holds; False when it is already settled, expired or unknown."""
        return self._counters.release(hold_id)

    def settle(
        self,
        hold_id: str,
        *,
        cost_usd: Decimal | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> bool:
        """Shrink a hold to what its call used, before its entry arrives; the entry replaces it, and counts once.

        Without `cost_usd`, tokens are priced as the check was; a part of the hold that nothing is said about stays.
        """
        hold = self._counters.find(hold_id)
        if hold is None:
            return False
        if cost_usd is None and input_tokens is not None and output_tokens is not None:
            used = replace(hold.about, input_tokens=input_tokens, max_output_tokens=output_tokens)
            size = size_of(used, self._prices, moment(hold.made_at), priced=True)
            cost_usd = None if size.cost is None else amount_of("cost_usd", size.cost)

        def amount(place: Place) -> int | None:
            limit = self._covering.limits.get(place.limit_id)
            if limit is None:
                return 0
            match limit.measure:
                case "requests":
                    return 1
                case "cost_usd":
                    return None if cost_usd is None else units_of("cost_usd", cost_usd)
                case "input_tokens":
                    return input_tokens
                case "output_tokens":
                    return output_tokens
                case "tokens":
                    return None if input_tokens is None or output_tokens is None else input_tokens + output_tokens

        return self._counters.settle(hold_id, amount, self._micros() + CONFIRM_SECONDS * SECOND)

    def extend(self, hold_id: str, lease_seconds: int) -> datetime | None:
        """Lengthen a hold's lease from now; gives its new end, or None when there is no such hold."""
        until = self._micros() + min(lease_seconds, LONGEST_LEASE) * SECOND
        return moment(until) if self._counters.extend(hold_id, until) else None

    def find_hold(self, hold_id: str) -> Hold | None:
        return self._counters.find(hold_id)

    def expire(self) -> None:
        """Release what has outlived its lease; every check and posting does it too."""
        self._counters.expire(self._micros())

    # — limits —

    def all(self) -> list[Limit]:
        """All limits, by name."""
        return sorted(self._covering.limits.values(), key=lambda limit: limit.name)

    def get(self, limit_id: str) -> Limit | None:
        return self._covering.limits.get(limit_id)

    def create(self, fields: Mapping[str, Any], *, who: str, why: str | None = None) -> Limit:
        """Add a limit; what the ledger has in its window counts at once. Raises `LimitError`."""
        limit = Limit.of(fields, limit_id=rows.new_id())
        with self._step:
            with self._control.change(who=who, why=why) as change:
                rows.insert(change, limit)
            self._use(limit)
        return limit

    def update(self, limit_id: str, fields: Mapping[str, Any], *, who: str, why: str | None = None) -> Limit:
        """Change some fields of a limit; a field given as None gets its default. Raises `LimitError`, `NotFound`."""
        with self._step:
            was = self._covering.limits.get(limit_id)
            if was is None:
                raise NotFound(f"there is no limit {limit_id!r}")
            _own(was)
            limit = Limit.of({**was.fields(), **fields}, limit_id=limit_id)
            with self._control.change(who=who, why=why) as change:
                rows.update(change, limit)
            self._use(limit)
        return limit

    def delete(self, limit_id: str, *, who: str, why: str | None = None) -> None:
        """Remove a limit. Raises `NotFound`, and `LimitError` for one of the configuration."""
        with self._step:
            if was := self._covering.limits.get(limit_id):
                _own(was)
            with self._control.change(who=who, why=why) as change:
                rows.delete(change, limit_id)
            self._covering = Covering(limit for limit in self._covering.limits.values() if limit.id != limit_id)
            self._counters.forget(limit_id)

    def configure(self, given: Sequence[Mapping[str, Any]]) -> None:
        """Make the limits of the configuration those in `given`, by name: add, change and remove. Raises `LimitError`."""
        with self._step:
            before = {limit.name: limit for limit in self._covering.limits.values() if limit.source == "config"}
            wanted: dict[str, Limit] = {}
            for place, fields in enumerate(given):
                limit = _configured(place, fields)
                if limit.name in wanted:
                    raise LimitError(f"limits[{place}].name", f"{limit.name!r} is the name of two limits")
                was = before.get(limit.name)
                wanted[limit.name] = replace(limit, id=was.id) if was else limit
            with self._control.change(who="configuration") as change:
                for name, limit in before.items():
                    if name not in wanted:
                        rows.delete(change, limit.id)
                for name, limit in wanted.items():
                    (rows.update if name in before else rows.insert)(change, limit)
            kept = [limit for limit in self._covering.limits.values() if limit.source != "config"]
            changed = [limit for name, limit in wanted.items() if before.get(name) != limit]
            self._count_history(changed)
            self._covering = Covering([*kept, *wanted.values()])

    def buckets(self, limit: Limit, count: int | None = None) -> list[Asked]:
        """The live buckets of a limit now, fullest first."""
        now = self._micros()
        start = place_of(limit, (), now).start
        found = []
        for key in self._counters.buckets(limit.id, start):
            place = place_of(limit, key, now)
            reading = self._counters.read(place, now)
            found.append(Asked(limit, key, Demand(place, 0, 0, limit.cap, limit.cap), reading))
        found.sort(key=lambda asked: asked.share, reverse=True)
        return found[:count]

    def counts(self) -> dict[str, int]:
        """Live buckets and holds, and how many holds outlived their lease."""
        buckets, holds = self._counters.count()
        return {"limits": len(self._covering.limits), "buckets": buckets, "holds": holds, "leaked": self._counters.expired}

    # — inside —

    def _micros(self) -> int:
        return micros(self._clock())

    def _try(self, check: Check) -> tuple[Verdict, bool]:
        """The answer now, and whether waiting for holds to settle may change it."""
        at = self._clock()
        now = micros(at)
        covering = self._covering
        covered = covering.cover(check.subject(), now)
        size = size_of(check, self._prices, at, priced=covering.counts_money)
        demands = [_demand(c.limit, c.at(now), size) for c in covered]
        hold_id = None if check.dry_run else secrets.token_hex(16)
        expires_at = now + min(max(check.lease_seconds, 1), LONGEST_LEASE) * SECOND
        readings = self._counters.hold(now, demands, hold_id, expires_at, check)
        asked = [Asked(c.limit, c.key, d, r) for c, d, r in zip(covered, demands, readings, strict=True)]
        refused = [a for a in asked if a.demand.refuses and not a.reading.passes]
        if not refused:
            warned = tuple(standing(a, size, now) for a in asked if _warns(a))
            end = None if hold_id is None else moment(expires_at)
            return Verdict(verdict="warn" if warned else "allow", hold_id=hold_id, expires_at=end, warnings=warned), False
        answers = [standing(a, size, now, retry=retry_after(a, self._counters.slots(a.demand.place, now), now)) for a in refused]
        answers.sort(key=lambda s: s.retry_after_seconds, reverse=True)
        waits = all(a.only_holds_stand_in_the_way for a in refused)
        return Verdict(verdict="refuse", refused=tuple(answers)), waits

    def _amounts(self, covering: Covering, tallies: Iterable[Tally], now: int) -> list[tuple[Place, int, int]]:
        amounts = []
        for tally in tallies:
            for covered in covering.cover(tally.subject, tally.at):
                amount = tally.amount(covered.limit)
                place = covered.at(tally.at)
                # The ledger remembers windows that are over; counters need the last one only where its rest rolls over.
                if amount and (place.end > now or covered.limit.rollover):
                    amounts.append((place, tally.at, amount))
        return amounts

    def _use(self, limit: Limit) -> None:
        self._count_history([limit])
        self._covering = Covering([*(x for x in self._covering.limits.values() if x.id != limit.id), limit])

    def _count_history(self, limits: Sequence[Limit]) -> None:
        if limits and self._history is not None:
            connection = self._history()
            try:
                self._recount(connection, limits)
            finally:
                connection.close()

    def _recount(self, connection: duckdb.DuckDBPyConnection, limits: Sequence[Limit]) -> None:
        now = self._micros()
        shapes: dict[tuple[Shape, str], list[Limit]] = {}
        for limit in limits:
            shapes.setdefault((Shape.of([limit]), repr(limit.window)), []).append(limit)
        for (shape, _), alike in shapes.items():
            window: Window = alike[0].window
            amounts: dict[str, list[tuple[Place, int, int]]] = {limit.id: [] for limit in alike}
            covering = Covering([replace(limit, enabled=True, valid_from=None, valid_to=None) for limit in alike])
            for place, at, amount in self._amounts(covering, of_history(connection, shape, window, now), now):
                amounts[place.limit_id].append((place, at, amount))
            for limit_id, counted in amounts.items():
                self._counters.replace(limit_id, counted)

    def _wake(self) -> None:
        for loop, event in list(self._waiting):
            loop.call_soon_threadsafe(event.set)


def _own(limit: Limit) -> None:
    if limit.source == "config":
        raise LimitError("id", f"{limit.name!r} stands in the configuration file; change it there")


def _configured(place: int, fields: Mapping[str, Any]) -> Limit:
    try:
        return Limit.of(fields, limit_id=rows.new_id(), source="config")
    except LimitError as error:
        raise LimitError(f"limits[{place}].{error.field}", error.text) from None


def _demand(limit: Limit, place: Place, size: Size) -> Demand:
    """What a check asks of one limit."""
    worst = size.worst(limit)
    if worst is None:
        return Demand(place, 0, 0, -1, -1, limit.refuses)
    cap = limit.cap + units_of(limit.measure, limit.amount * limit.grace)
    # A call that may turn out free still needs something to be left: a full limit lets nothing more through.
    worst = max(worst, 1)
    return Demand(place, worst, worst, cap, cap, limit.refuses)


def _warns(asked: Asked) -> bool:
    limit = asked.limit
    if limit.action == "shadow":
        return False
    first = min(limit.thresholds, default=None)
    return not asked.reading.passes or (first is not None and asked.share >= first)
