"""Puts an answer into words: which limit stands how, why a call is refused, and when it is worth asking again."""

from collections.abc import Sequence
from dataclasses import dataclass

from spanledger.limits.check import Standing
from spanledger.limits.counters.counters import Demand, Key, Reading
from spanledger.limits.covering import scope_of
from spanledger.limits.limit import Limit, text_of
from spanledger.limits.size import Size
from spanledger.limits.terms import Pause
from spanledger.limits.window import FOREVER, SECOND, Rolling, micros, moment

#: Holds settle within seconds; one that only holds stand in the way of is worth asking again soon.
SOON_SECONDS = 1
NEVER_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Asked:
    """One limit that a check was tested against, and how its bucket was found."""

    limit: Limit
    key: Key
    demand: Demand
    reading: Reading

    @property
    def only_holds_stand_in_the_way(self) -> bool:
        """Whether the call would pass if every hold were released."""
        demand, used = self.demand, self.reading.used
        return not self.reading.passes and used + demand.size <= demand.cap and used + demand.worst <= demand.bound

    @property
    def share(self) -> float:
        """How full the bucket is with this call, as a share of what it stops at."""
        total = self.reading.used + self.reading.held + self.demand.size
        return total / self.demand.cap if self.demand.cap > 0 else float("inf")

    @property
    def free(self) -> int:
        """Units that are neither used nor held."""
        return max(0, self.demand.cap - self.reading.used - self.reading.held)

    @property
    def room(self) -> int:
        """Units that a call can come to and pass for sure: free, and within the bound together with the worst of all holds."""
        return max(0, min(self.free, self.demand.bound - self.reading.used - self.reading.worst))


def retry_after(asked: Asked, slots: Sequence[tuple[int, int]], now: int) -> int:
    """Seconds until a refused call may fit. `slots` are those of a rolling bucket, oldest first."""
    if asked.only_holds_stand_in_the_way:
        return SOON_SECONDS
    place, window = asked.demand.place, asked.limit.window
    if not isinstance(window, Rolling):
        return NEVER_SECONDS if place.end >= FOREVER else seconds_until(place.end, now)
    demand, used = asked.demand, asked.reading.used
    over = max(used + demand.size - demand.cap, used + demand.worst - demand.bound)
    for slot, amount in slots:
        over -= amount
        if over <= 0:
            return seconds_until((slot + 1) * place.width + place.length, now)
    return window.seconds


def seconds_until(at: int, now: int) -> int:
    """Whole seconds, upwards, at least one."""
    return max(1, -((now - at) // SECOND))


def standing(asked: Asked, size: Size, now: int, *, retry: int = 0, says: str | None = None) -> Standing:
    """How a limit stands, with the sentence that explains it."""
    limit, place, reading = asked.limit, asked.demand.place, asked.reading
    measure = limit.measure
    rolling = isinstance(limit.window, Rolling)
    ends = place.end < FOREVER and not rolling
    end = moment(now + retry * SECOND) if rolling and retry else moment(place.end) if ends else None
    return Standing(
        limit_id=limit.id,
        limit=limit.name,
        scope=scope_of(limit, asked.key),
        measure=measure,
        used=text_of(measure, reading.used),
        held=text_of(measure, reading.held),
        amount=text_of(measure, max(0, asked.demand.cap)),
        remaining=text_of(measure, asked.free),
        requested=text_of(measure, asked.demand.size),
        window_start=moment(now - place.length if rolling else place.start),
        window_end=end,
        window_seconds=_window_seconds(asked),
        reset_seconds=None if end is None else seconds_until(micros(end), now),
        fraction=min(asked.share, 1e9),
        says=says or _sentence(asked, size),
        fits=_fits(limit, size, asked.room),
        price_confidence=size.price_confidence,
        retry_after_seconds=retry,
    )


def paused(pause: Pause, now: int) -> Standing:
    """A pause as the reason of a refusal."""
    scope = pause.scope
    until = "until someone resumes it" if pause.until is None else f"until {pause.until.isoformat()}"
    retry = NEVER_SECONDS if pause.until is None else seconds_until(micros(pause.until), now)
    return Standing(
        limit_id=pause.limit_id or pause.id,
        limit="paused",
        scope=scope,
        measure="requests",
        used="0",
        held="0",
        amount="0",
        remaining="0",
        requested="1",
        window_start=pause.since,
        window_end=pause.until,
        window_seconds=None,
        reset_seconds=None if pause.until is None else retry,
        fraction=1.0,
        says=f"{scope} is paused {until}: {pause.reason}",
        retry_after_seconds=retry,
        pause_id=pause.id,
    )


def _window_seconds(asked: Asked) -> int | None:
    place = asked.demand.place
    if place.width:
        return place.length // SECOND
    return None if place.end >= FOREVER else (place.end - place.start) // SECOND


def _sentence(asked: Asked, size: Size) -> str:
    limit, reading, demand, measure = asked.limit, asked.reading, asked.demand, asked.limit.measure
    of = f"{limit.window}, {scope_of(limit, asked.key)}"
    if demand.cap < 0:
        return f"{limit.name!r} ({of}) refuses models without a price; {size.price_confidence}"
    used, held, amount, asks = (_shown(measure, n) for n in (reading.used, reading.held, demand.cap, demand.size))
    if not reading.passes and demand.size > demand.cap:
        return f"{limit.name!r} ({of}): the call may take {asks}, more than the whole limit of {amount}"
    left = f"{used} used and {held} held of {amount}"
    if reading.passes:
        return f"{limit.name!r} ({of}): {left}, with {asks} for this call"
    why = "; it would fit once the holds of calls in flight settle" if asked.only_holds_stand_in_the_way else ""
    if reading.used + reading.held + demand.size <= demand.cap:
        return (
            f"{limit.name!r} ({of}): {left}; with the calls in flight it could come to "
            f"{_shown(measure, reading.used + reading.worst + demand.worst)}, more than {_shown(measure, demand.bound)}{why}"
        )
    return f"{limit.name!r} ({of}): {left}; the call may take {asks}, and there is room for {_shown(measure, asked.free)}{why}"


def _shown(measure: str, units: int) -> str:
    if measure != "cost_usd":
        name = measure.replace("_", " ")
        return f"{units:,} {name.removesuffix('s') if units == 1 else name}"
    dollars, dot, rest = text_of(measure, units).partition(".")
    return f"${dollars}" if not dot else f"${dollars}.{rest:0<2}"


def _fits(limit: Limit, size: Size, room: int) -> dict[str, str]:
    """What would still fit: the room there is and, for tokens, the `max_output_tokens` that it leaves this call."""
    fits: dict[str, str] = {limit.measure: text_of(limit.measure, room)}
    if limit.measure in ("tokens", "output_tokens"):
        taken = size.input_tokens if limit.measure == "tokens" else 0
        fits["max_output_tokens"] = str(max(0, room - taken))
    elif limit.measure == "cost_usd" and size.cost and size.output_tokens and size.input_cost is not None:
        per_output = size.cost - size.input_cost
        if per_output > 0:
            fits["max_output_tokens"] = str(max(0, (room - size.input_cost) * size.output_tokens // per_output))
    return fits
