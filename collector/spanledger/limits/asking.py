"""The two halves of a check around the atomic step: what it demands of which limits, and the verdict on what was found."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from spanledger.limits.answer import Asked, paused, retry_after, standing
from spanledger.limits.check import LONGEST_LEASE, Check, Standing, Verdict
from spanledger.limits.counters.counters import Demand, Hold, Part, Place, Reading
from spanledger.limits.covering import Covered, Covering, place_of
from spanledger.limits.learned import Learned
from spanledger.limits.limit import Limit, units_of
from spanledger.limits.size import Pricing, Size, learned_size, size_of, with_input_cost
from spanledger.limits.terms import Pause
from spanledger.limits.window import SECOND, Calendar, micros

#: A call that is checked this shortly before a window's end may begin in the next one, and is held in both.
EDGE_US = 5 * SECOND
NOBODY_SECONDS = 1


class Prepared(Struct, frozen=True, gc=False):
    """A check with all that its atomic step needs."""

    check: Check
    now: int
    size: Size
    covered: Sequence[Covered]
    demands: Sequence[Demand]
    hold_id: str | None
    expires_at: int
    pauses: Sequence[Pause]


def _refused(prepared: Prepared, readings: Sequence[Reading]) -> list[Asked]:
    return [
        Asked(covered.limit, covered.key, demand, reading)
        for covered, demand, reading in zip(prepared.covered, prepared.demands, readings, strict=True)
        if demand.refuses and not reading.passes
    ]


class Asking:
    """Prepares checks and concludes them, for one state of the limits at a time."""

    def __init__(self, prices: Pricing, learned: Learned, carried: Callable[[Limit, Covered, int], int]) -> None:
        self._prices = prices
        self._learned = learned
        self._carried = carried
        self._ids: list[str] = []

    def prepare(self, covering: Covering, check: Check, now: int) -> Prepared:
        """Which limits cover the call, and what it asks of each."""
        limits, pauses = covering.cover_check(check, now)
        size = size_of(check, self._prices, now, priced=covering.counts_money)
        covered: list[Covered] = []
        demands: list[Demand] = []
        for one in limits:
            limit = one.limit
            place = one.at(now)
            units = size.amounts[limit.measured]
            if one.plain and units:
                demand = Demand(place, units, units, one.cap, one.cap, limit.refuses)
            else:
                demand = self._demand(one, place, size, check, now)
            covered.append(one)
            demands.append(demand)
            if place.end - now <= EDGE_US and isinstance(limit.window, Calendar):
                covered.append(one)
                demands.append(replace(demand, place=place_of(limit, one.key, place.end)))
        # What no limit covers needs no hold.
        hold_id = None if check.dry_run or not demands else self._new_id()
        expires_at = now + min(max(check.lease_seconds, 1), LONGEST_LEASE) * SECOND
        in_force = [p for p in pauses if p.until is None or micros(p.until) > now] if pauses else pauses
        return Prepared(check, now, size, covered, demands, hold_id, expires_at, in_force)

    def parts(self, covering: Covering, hold: Hold, limit_ids: Collection[str]) -> list[Part]:
        """What a hold would have set aside under some limits if they had been there when it was made."""
        prepared = self.prepare(covering, replace(hold.about, dry_run=True), hold.made_at)
        found = zip(prepared.covered, prepared.demands, strict=True)
        return [Part(demand.place, demand.size, demand.worst) for one, demand in found if one.limit.id in limit_ids]

    def passed(self, prepared: Prepared, readings: Sequence[Reading]) -> Verdict | None:
        """The verdict on a check that no limit refuses; None on any other."""
        near = False
        for one, demand, reading in zip(prepared.covered, prepared.demands, readings, strict=True):
            if not reading.passes:
                if demand.refuses:
                    return None
                near = True
            first = one.limit.first_threshold if one.plain else one.warns_from(demand.cap)
            near = near or (first is not None and reading.used + reading.held + demand.size >= first)
        warned = self._warned(prepared, readings) if near else ()
        end = None if prepared.hold_id is None else prepared.expires_at
        return Verdict("warn" if warned else "allow", prepared.hold_id, end, warned)

    def needs(self, prepared: Prepared, readings: Sequence[Reading]) -> list[Place]:
        """The rolling buckets whose slots tell when a refused call may fit."""
        rolling = [a for a in _refused(prepared, readings) if a.demand.place.width]
        return [a.demand.place for a in rolling if not a.only_holds_stand_in_the_way]

    def refused(
        self, prepared: Prepared, readings: Sequence[Reading], slots: Mapping[Place, Sequence[tuple[int, int]]]
    ) -> tuple[Verdict, bool]:
        """The refusal, and whether waiting for holds to settle may change it. `slots` are those that `needs` asked for."""
        now, refused = prepared.now, _refused(prepared, readings)
        size = with_input_cost(prepared.size, prepared.check, self._prices, now)
        answers = [standing(a, size, now, retry=retry_after(a, slots.get(a.demand.place, ()), now)) for a in refused]
        answers.sort(key=lambda s: s.retry_after_seconds, reverse=True)
        return Verdict("refuse", refused=tuple(answers)), all(a.only_holds_stand_in_the_way for a in refused)

    def paused(self, prepared: Prepared) -> Verdict:
        """The refusal of a subject that is paused."""
        return Verdict(verdict="refuse", refused=tuple(paused(pause, prepared.now) for pause in prepared.pauses))

    def without_counters(self, prepared: Prepared, why: str) -> Verdict:
        """The verdict when the counters are away: every limit says itself whether it fails open or closed."""
        closed: list[Standing] = []
        open_: list[Standing] = []
        nothing = Reading(0, 0, 0, True)
        for covered, demand in zip(prepared.covered, prepared.demands, strict=True):
            limit = covered.limit
            fails = limit.refuses and limit.on_failure == "closed"
            says = f"{limit.name!r}: {why}, and this limit fails {'closed' if fails else 'open'}"
            asked = Asked(limit, covered.key, demand, nothing)
            retry = NOBODY_SECONDS if fails else 0
            (closed if fails else open_).append(standing(asked, prepared.size, prepared.now, retry=retry, says=says))
        if closed:
            return Verdict(verdict="refuse", refused=tuple(closed), counters_away=True)
        return Verdict(verdict="warn" if open_ else "allow", warnings=tuple(open_), counters_away=True)

    def _new_id(self) -> str:
        """Sixteen random bytes, drawn a thousand at a time: a system call for each would be a tenth of a check."""
        while True:
            try:
                return self._ids.pop()
            except IndexError:
                drawn = os.urandom(16 * 1_000).hex()
                self._ids.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))

    def _demand(self, covered: Covered, place: Place, size: Size, check: Check, now: int) -> Demand:
        """What a check asks of one limit."""
        limit = covered.limit
        cap = covered.cap_at(now)
        if limit.rollover:
            cap += self._carried(limit, covered, now)
        worst = size.worst(limit)
        if worst is None:
            return Demand(place, 0, 0, -1, -1, limit.refuses)
        # A call that may turn out free still needs something to be left: a full limit lets nothing more through.
        worst = worst or 1
        if limit.hold == "worst_case":
            return Demand(place, worst, worst, cap, cap, limit.refuses)
        bound = cap + units_of(limit.measure, limit.overshoot_bound)
        if limit.hold == "fixed":
            hold = units_of(limit.measure, limit.hold_amount or limit.amount)
        else:
            sample = self._learned.quantile(check, limit.quantile)
            if sample is None:
                return Demand(place, worst, worst, cap, bound, limit.refuses)
            priced = limit.measure == "cost_usd"
            hold = learned_size(check, size, sample, self._prices, now, priced=priced).worst(limit) or 0
        return Demand(place, max(min(hold, worst), 1), worst, cap, bound, limit.refuses)

    def _warned(self, prepared: Prepared, readings: Sequence[Reading]) -> tuple[Standing, ...]:
        warned = []
        for covered, demand, reading in zip(prepared.covered, prepared.demands, readings, strict=True):
            limit = covered.limit
            if limit.action == "shadow" or demand.place.start > prepared.now:
                continue
            first = covered.warns_from(demand.cap)
            total = reading.used + reading.held + demand.size
            if not reading.passes or (first is not None and total >= first):
                warned.append(standing(Asked(limit, covered.key, demand, reading), prepared.size, prepared.now))
        return tuple(warned)
