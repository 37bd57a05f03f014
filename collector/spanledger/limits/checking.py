"""Answers checks: at once, in a thread, or from an event loop, where a check may wait for holds to settle."""

import asyncio
from collections.abc import Callable

from spanledger.limits.asking import Asking, Prepared
from spanledger.limits.carried import Carried
from spanledger.limits.check import LONGEST_WAIT_MS, Check, Verdict
from spanledger.limits.counters.counters import Counters, CountersAway
from spanledger.limits.covering import Covering
from spanledger.limits.waiting import Waiting


class Checking:
    """Around the counters' one atomic step. `covering` and `micros` say by which limits, and when."""

    def __init__(
        self,
        counters: Counters,
        asking: Asking,
        carried: Carried,
        waiting: Waiting,
        covering: Callable[[], Covering],
        micros: Callable[[], int],
    ) -> None:
        self._counters, self._asking, self._carried, self._waiting = counters, asking, carried, waiting
        self._covering, self._micros = covering, micros

    def now(self, check: Check) -> tuple[Verdict, bool]:
        """The verdict, and whether waiting for holds to settle may change it."""
        covering = self._covering()
        prepared = self._prepared(covering, check)
        if self._carried.wanted:
            self._carried.fetch_now(prepared.now)
            prepared = self._prepared(covering, check)
        if prepared.pauses:
            return self._asking.paused(prepared), False
        counters = self._counters
        try:
            readings = counters.hold(prepared.now, prepared.demands, prepared.hold_id, prepared.expires_at, check)
            passed = self._asking.passed(prepared, readings)
            if passed is not None:
                if covering is self._covering() or check.dry_run:
                    return passed, False
                # A limit that came to be meanwhile may have seen the hold, or not: it is asked for anew, by all limits.
                if passed.hold_id is not None:
                    counters.release(passed.hold_id)
                return self.now(check)
            slots = {place: counters.slots(place, prepared.now) for place in self._asking.needs(prepared, readings)}
        except CountersAway as away:
            return self._asking.without_counters(prepared, str(away)), False
        return self._asking.refused(prepared, readings, slots)

    async def soon(self, check: Check) -> Verdict:
        """When only holds stand in the way, wait up to `wait_ms` for them to settle."""

        async def again() -> tuple[Verdict, bool]:
            return await self._soon(check)

        verdict, waits = await again()
        if waits and check.wait_ms > 0:
            seconds = min(check.wait_ms, LONGEST_WAIT_MS) / 1000
            verdict = await self._waiting.until(again, verdict, seconds=seconds, look=self._counters.remote)
        return verdict

    async def _soon(self, check: Check) -> tuple[Verdict, bool]:
        covering = self._covering()
        prepared = self._prepared(covering, check)
        if self._carried.wanted:
            await self._carried.fetch(prepared.now)
            prepared = self._prepared(covering, check)
        if prepared.pauses:
            return self._asking.paused(prepared), False
        counters = self._counters
        try:
            readings = await counters.hold_soon(prepared.now, prepared.demands, prepared.hold_id, prepared.expires_at, check)
            passed = self._asking.passed(prepared, readings)
            if passed is not None:
                if covering is self._covering() or check.dry_run:
                    return passed, False
                if passed.hold_id is not None:
                    await asyncio.to_thread(counters.release, passed.hold_id)
                return await self._soon(check)
            slots = {place: await counters.slots_soon(place, prepared.now) for place in self._asking.needs(prepared, readings)}
        except CountersAway as away:
            return self._asking.without_counters(prepared, str(away)), False
        return self._asking.refused(prepared, readings, slots)

    def _prepared(self, covering: Covering, check: Check) -> Prepared:
        return self._asking.prepare(covering, check, self._micros())
