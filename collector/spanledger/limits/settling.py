"""What a hold becomes before its entry arrives: when someone says what its call used, or when limits change."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from spanledger.limits.counters.counters import Hold, Part
from spanledger.limits.limit import Limit, amount_of, units_of
from spanledger.limits.size import Pricing, size_of

#: How long a hold that was settled by hand waits for its entry.
CONFIRM_SECONDS = 3_600


def settled_parts(
    hold: Hold,
    limits: Mapping[str, Limit],
    prices: Pricing,
    now: int,
    *,
    cost_usd: Decimal | None,
    input_tokens: int | None,
    output_tokens: int | None,
) -> tuple[Part, ...]:
    """The parts of the hold at what was used; a part that nothing is said about stays.

    Without `cost_usd`, tokens are priced as the check was, at their dearest, until the entry says how they were charged.
    """
    if cost_usd is None and input_tokens is not None and output_tokens is not None:
        used = replace(hold.about, input_tokens=input_tokens, max_output_tokens=output_tokens)
        cost = size_of(used, prices, hold.made_at, priced=True).cost
        cost_usd = None if cost is None else amount_of("cost_usd", cost)
    said = {
        "requests": 1,
        "cost_usd": None if cost_usd is None else units_of("cost_usd", cost_usd),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "tokens": None if input_tokens is None or output_tokens is None else input_tokens + output_tokens,
    }
    parts: list[Part] = []
    for part in hold.parts:
        limit = limits.get(part.place.limit_id)
        units = said[limit.measure] if limit else None
        units, worst = (part.size, part.worst) if units is None else (units, units)
        if part.place.start <= hold.made_at:
            parts.append(Part(part.place, units, worst))
        elif part.place.start <= now:
            # The call may have begun in this window or in the one before, and only its entry tells. It is counted in one of
            # them; in this one, what it may come to stands in the way of others until then.
            parts.append(Part(part.place, 0, worst))
    return tuple(parts)


def parts_anew(hold: Hold, limit_ids: Collection[str], fresh: Sequence[Part]) -> tuple[Part, ...]:
    """The parts of a hold where some limits are new, changed or gone, and `fresh` is what it holds of them by now."""
    return (*(part for part in hold.parts if part.place.limit_id not in limit_ids), *fresh)


def as_said(hold: Hold, fresh: Sequence[Part], remeasured: Collection[str]) -> Sequence[Part]:
    """What a hold holds of changed limits by now: where it was settled by hand, what was said, unless by another measure; where
    nothing was said, the most until its entry comes."""
    if not hold.settled:
        return fresh
    said = {part.place: part for part in hold.parts if part.place.limit_id not in remeasured}
    return [said.get(part.place, part) for part in fresh]
