"""Limits: what the rest of the house asks. Counts entries, answers checks, keeps the rows in the control database."""

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from prometheus_client import CollectorRegistry

from spanledger.control import Control
from spanledger.limits.admin import Admin
from spanledger.limits.answer import Asked
from spanledger.limits.asking import Asking
from spanledger.limits.carried import Carried
from spanledger.limits.check import LONGEST_LEASE, Check, Verdict
from spanledger.limits.checking import Checking
from spanledger.limits.counters.counters import Amount, Counters, CountersAway, Hold, Key, Place, Posting
from spanledger.limits.counters.hold_log import HoldLog, restored
from spanledger.limits.counters.memory import MemoryCounters
from spanledger.limits.counting import postings
from spanledger.limits.covering import Covering
from spanledger.limits.expects import Expects, anything
from spanledger.limits.full import fullest, how_full
from spanledger.limits.keeper import Keeper
from spanledger.limits.learned import Learned
from spanledger.limits.limit import Limit
from spanledger.limits.metrics import Metrics
from spanledger.limits.rulebook import Rulebook
from spanledger.limits.settling import CONFIRM_SECONDS, settled_parts
from spanledger.limits.size import Pricing
from spanledger.limits.waiting import Waiting
from spanledger.limits.window import SECOND, micros, moment

if TYPE_CHECKING:
    from spanledger.limits.repair import Repair

logger = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Limits:
    """All limits of one collector. Thread-safe: the collector's loop posts while the API asks.

    `history` gives a DuckDB connection on the ledger's newest snapshot, from which a new limit counts what has been.
    With a `folder`, holds survive a kill of the process. `counters` is a Redis URL when several collectors share limits.
    """

    def __init__(
        self,
        control: Control,
        prices: Pricing,
        *,
        history: Callable[[], duckdb.DuckDBPyConnection] | None = None,
        folder: Path | None = None,
        counters: str | None = None,
        metrics: CollectorRegistry | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._control = control
        self._prices = prices
        self.history = history
        self._clock = clock
        self._step = threading.RLock()
        self._waiting = Waiting()
        self._log = None if counters or folder is None else HoldLog(folder / "holds.log")
        self._repair: Repair | None = None
        self._counters: Counters
        if counters:
            # Importing a Redis client takes a twentieth of a start, and most collectors need none.
            from spanledger.limits.repair import shared_counters

            self._counters, self._repair = shared_counters(counters, self, self._waiting.wake)
        else:
            self._counters = restored(MemoryCounters(self._waiting.wake, self._log), self._log, self.micros())
        self._learned = Learned()
        self._carried = Carried(self._counters)
        asking = Asking(prices, self._learned, self._carried)
        self._checking = Checking(self._counters, asking, self._carried, self._waiting, lambda: self._rules.covering, self.micros)
        self._rules = Rulebook(control, self._counters, self._step, clock, history, self._changed, asking.parts)
        self._keeper = Keeper(self, self._rules, control, self._counters, self._repair)
        self.admin = Admin(control, self)
        self.metrics = Metrics(self, metrics)

    def start(self) -> None:
        """Keep things in order from now on, every second, in a thread of its own."""
        self._keeper.start()

    def close(self) -> None:
        """Give back what is open."""
        self._keeper.stop()
        self._counters.close()
        if self._log is not None:
            self._log.close()

    async def leave(self) -> None:
        """Close what the running event loop has open; call it before the loop ends."""
        await self._counters.leave()

    # — entries —

    @contextmanager
    def in_step(self) -> Generator[None]:
        """Makes "commit to the ledger, then `post`" one step, so that a limit added meanwhile counts each entry once."""
        with self._step:
            yield

    def post(self, entries: pl.DataFrame) -> None:
        """Count a batch of entries, each in the window of its `occurred_at`, and settle the holds that it names."""
        covering = self.covering
        if not covering.enabled and ("hold_id" not in entries.columns or entries["hold_id"].is_null().all()):
            return
        now = self.micros()
        if covering.learns:
            self._learned.observe(entries)
        found = postings(covering, entries, now, each=self._counters.remote)
        try:
            self._counters.post(found, now)
            counted = {amount.place for posting in found for amount in posting.amounts}
            self.admin.resets.correct(counted)
            self.admin.pause_the_overspent(counted)
        except CountersAway as away:
            if self._repair is None:
                raise
            logger.warning("a batch did not reach the counters and will be posted again: %s", away)
            self._repair.missed(entries)

    def rebuild(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Count all limits anew from the ledger; bring shared counters up to date with it.

        At the start, and after something else than the collector's loop has posted.
        """
        with self._step:
            if self.covering.learns:
                self._learned.rebuild(connection)
            if self._repair is None:
                self.count_all(connection)
            else:
                self._repair.look_back()
                try:
                    self._repair.step()
                except CountersAway as away:
                    logger.warning("%s; until they can be, each limit fails open or closed as it says", away)
            self.admin.resume_the_reconfigured()

    def count_all(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Count all limits anew from the ledger."""
        self._rules.count(connection, self.covering.enabled)

    # — checks —

    def check(self, check: Check) -> Verdict:
        """Answer at once; a call that passes leaves a hold unless `dry_run`."""
        return self._answered(self._checking.now(check)[0])

    @property
    def waits(self) -> bool:
        """Whether every check has to wait for counters elsewhere."""
        return self._counters.remote

    def ask_at_once(self, check: Check) -> Verdict | None:
        """As `check`, with counters in memory; None when `ask` would wait for holds to settle."""
        verdict, waits = self._checking.now(check)
        return None if waits and check.wait_ms > 0 else self._answered(verdict)

    async def ask(self, check: Check) -> Verdict:
        """As `check`, but when only holds stand in the way, wait up to `wait_ms` for them to settle."""
        return self._answered(await self._checking.soon(check))

    def release(self, hold_id: str) -> bool:
        """Set free what a hold holds; False when it is already settled, expired or unknown."""
        with suppress(CountersAway):  # counters that are away let go of it later
            hold = self._counters.find(hold_id)
            if hold is not None and hold.settled:
                return False
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
        parts = settled_parts(
            hold,
            self.covering.limits,
            self._prices,
            self.micros(),
            cost_usd=cost_usd,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )
        return self._counters.settle(hold_id, parts, self.micros() + CONFIRM_SECONDS * SECOND)

    def extend(self, hold_id: str, lease_seconds: int) -> datetime | None:
        """Lengthen a hold's lease from now; gives its new end, or None when there is no such hold."""
        until = self.micros() + min(lease_seconds, LONGEST_LEASE) * SECOND
        return moment(until) if self._counters.extend(hold_id, until) else None

    def find_hold(self, hold_id: str) -> Hold | None:
        """A live hold."""
        return self._counters.find(hold_id)

    def keep(self) -> None:
        """What must be done every second or so, once; `start` does it from then on."""
        self._keeper.keep()

    # — limits —

    @property
    def covering(self) -> Covering:
        """All limits as they are now."""
        return self._rules.covering

    def all(self) -> list[Limit]:
        """All limits, by name."""
        return sorted(self.covering.limits.values(), key=lambda limit: limit.name)

    def get(self, limit_id: str) -> Limit | None:
        """One limit."""
        return self.covering.limits.get(limit_id)

    def create(self, fields: Mapping[str, Any], *, who: str, why: str | None = None) -> Limit:
        """Add a limit; what the ledger has in its window counts at once. Raises `LimitError`."""
        return self._rules.create(fields, who=who, why=why)

    def update(
        self, limit_id: str, fields: Mapping[str, Any], *, who: str, why: str | None = None, expects: Expects = anything
    ) -> Limit:
        """Change some fields of a limit; a field given as None gets its default. Raises `LimitError`, `NotFound`, and what
        `expects` raises when it is shown the limit as it is, which nobody else changes meanwhile."""
        limit = self._rules.update(limit_id, fields, who=who, why=why, expects=expects)
        self.admin.resume_the_recovered(limit, who=who, why="was changed")
        return limit

    def delete(self, limit_id: str, *, who: str, why: str | None = None, expects: Expects = anything) -> None:
        """Remove a limit. Raises `NotFound`, `LimitError` for one of the configuration, and what `expects` raises."""
        self._rules.delete(limit_id, who=who, why=why, expects=expects)

    def configure(
        self, limits: Sequence[Mapping[str, Any]], tiers: Sequence[Mapping[str, Any]] = (), *, count: bool = True
    ) -> None:
        """Make the limits and tiers of the configuration these, by name: add, change and remove. Raises `LimitError`.

        Without `count`, `rebuild` must follow before anyone asks.
        """
        self.admin.reconfigured = self._rules.configure(limits, tiers, count=count)
        if count:
            self.admin.resume_the_reconfigured()

    def reload(self) -> None:
        """Take limits and terms from the control database as they are there after a change that was made here."""
        self._rules.reload()

    def hold_again(self) -> None:
        """Let what this process held before shared counters were lost be held as the limits are by now."""
        self._rules.hold_again()

    def buckets(self, limit: Limit, count: int = 1_000) -> tuple[list[Asked], int]:
        """The fullest buckets of a limit now, and about how many there are."""
        grants = self.covering.terms.grants.get(limit.id, ())
        return fullest(self._counters, self._carried, limit, grants, self.micros(), count)

    def standing(self, limit: Limit, keys: Sequence[Key]) -> list[Asked]:
        """Buckets of a limit by their keys, with what they stop at now."""
        grants = self.covering.terms.grants.get(limit.id, ())
        return how_full(self._counters, self._carried, limit, keys, grants, self.micros())

    def counts(self) -> dict[str, int]:
        """Limits, live buckets and holds, and how many holds outlived their lease."""
        buckets, holds = self._counters.count(self.covering.limits.keys())
        return {"limits": len(self.covering.limits), "buckets": buckets, "holds": holds, "leaked": self._counters.leaked}

    def forget(self, place: Place, counted: Sequence[tuple[int, int]]) -> None:
        """Take from a bucket what had been counted: (moment, units)."""
        amounts = [Amount(place, at, -units) for at, units in counted]
        self._counters.post([Posting(None, None, amounts)], self.micros())

    def slots(self, place: Place) -> list[tuple[int, int]]:
        """(slot, units) of a rolling bucket, oldest first; of others there are none."""
        return self._counters.slots(place, self.micros()) if place.width else []

    def now(self) -> datetime:
        """Now, as the limits' clock says."""
        return self._clock()

    def micros(self) -> int:
        """Now, in microseconds since 1970."""
        return time_ns() // 1_000 if self._clock is _now else micros(self._clock())

    # — inside —

    def _changed(self, counted: Iterable[Limit]) -> None:
        self._keeper.count_again(limit.id for limit in counted)
        self._waiting.wake()

    def _answered(self, verdict: Verdict) -> Verdict:
        self.metrics.answered(verdict)
        return verdict
