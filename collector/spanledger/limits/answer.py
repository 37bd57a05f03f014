"""Puts an answer into words: which limit stands how, why a call is refused, and when it is worth asking again."""

from collections.abc import Sequence
from dataclasses import dataclass

from spanledger.limits.check import Standing
from spanledger.limits.covering import scope_of
from spanledger.limits.limit import Limit, text_of
from spanledger.limits.memory import Demand, Key, Reading
from spanledger.limits.size import Size
from spanledger.limits.window import FOREVER, SECOND, Rolling, moment

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
        demand = self.demand
        return not self.reading.passes and self.reading.used + demand.size <= demand.cap and demand.worst <= demand.bound

    @property
    def share(self) -> float:
        """How full the bucket is with this call, as a share of the amount."""
        total = self.reading.used + self.reading.held + self.demand.size
        return total / self.limit.cap if self.limit.cap else float("inf")


def retry_after(asked: Asked, slots: Sequence[tuple[int, int]], now: int) -> int:
    """Seconds until a refused call may fit. `slots` are those of a rolling bucket, oldest first."""
    if asked.only_holds_stand_in_the_way:
        return SOON_SECONDS
    place, window = asked.demand.place, asked.limit.window
    if not isinstance(window, Rolling):
        return NEVER_SECONDS if place.end >= FOREVER else max(1, -((now - place.end) // SECOND))
    over = asked.reading.used + asked.demand.size - asked.demand.cap
    for slot, amount in slots:
        over -= amount
        if over <= 0:
            leaves = (slot + 1) * place.width + place.length
            return max(1, -((now - leaves) // SECOND))
    return window.seconds


def standing(asked: Asked, size: Size, now: int, *, retry: int = 0, says: str | None = None) -> Standing:
    """How a limit stands, with the sentence that explains it."""
    limit, place, reading = asked.limit, asked.demand.place, asked.reading
    measure = limit.measure
    rolling = isinstance(limit.window, Rolling)
    ends = place.end < FOREVER and not rolling
    free = max(0, asked.demand.cap - reading.used - reading.held)
    return Standing(
        limit_id=limit.id,
        limit=limit.name,
        scope=scope_of(limit, asked.key),
        measure=measure,
        used=text_of(measure, reading.used),
        held=text_of(measure, reading.held),
        amount=text_of(measure, limit.cap),
        remaining=text_of(measure, free),
        requested=text_of(measure, asked.demand.size),
        window_start=moment(now - place.length if rolling else place.start),
        window_end=moment(now + retry * SECOND) if rolling and retry else moment(place.end) if ends else None,
        reset_seconds=retry if rolling and retry else -((now - place.end) // SECOND) if ends else None,
        fraction=min(asked.share, 1e9),
        says=says or _sentence(asked, size, free),
        fits=_fits(limit, size, free),
        price_confidence=size.price_confidence,
        retry_after_seconds=retry,
    )


def _sentence(asked: Asked, size: Size, free: int) -> str:
    limit, reading, measure = asked.limit, asked.reading, asked.limit.measure
    of = f"{limit.window}, {scope_of(limit, asked.key)}"
    if asked.demand.cap < 0:
        return f"{limit.name!r} ({of}) refuses models without a price; {size.price_confidence}"
    used, held, amount = (_shown(measure, n) for n in (reading.used, reading.held, limit.cap))
    asks = _shown(measure, asked.demand.size)
    if not reading.passes and asked.demand.size > asked.demand.cap:
        return f"{limit.name!r} ({of}): the call may take {asks}, more than the whole limit of {amount}"
    left = f"{used} used and {held} held of {amount}"
    if reading.passes:
        return f"{limit.name!r} ({of}): {left}, with {asks} for this call"
    why = "; it would fit once the holds of calls in flight settle" if asked.only_holds_stand_in_the_way else ""
    return f"{limit.name!r} ({of}): {left}; the call may take {asks}, and {_shown(measure, free)} is free{why}"


def _shown(measure: str, units: int) -> str:
    if measure != "cost_usd":
        return f"{units:,} {measure.replace('_', ' ')}"
    whole = text_of(measure, units)
    return f"${whole}" if "." not in whole or len(whole.split(".")[1]) > 2 else f"${float(whole):.2f}"


def _fits(limit: Limit, size: Size, free: int) -> dict[str, str]:
    """What would still fit: for tokens the number, for money the share of this call."""
    fits: dict[str, str] = {limit.measure: text_of(limit.measure, free)}
    if limit.measure in ("tokens", "output_tokens"):
        taken = size.input_tokens if limit.measure == "tokens" else 0
        fits["max_output_tokens"] = str(max(0, free - taken))
    return fits
