"""How far a limit can be passed at most, and what that rests on: nothing is promised that a check cannot know."""

from typing import Any

from spanledger.limits import Limit
from spanledger.limits.asking import EDGE_US
from spanledger.limits.size import ASSUMED_INPUT_TOKENS, ASSUMED_OUTPUT_TOKENS
from spanledger.limits.window import SECOND, Lifetime, Rolling

_HELD = {
    "worst_case": "every call is held at the most it can come to",
    "learned": "calls are held at what such calls have used; the most that all calls in flight can come to stays within this",
    "fixed": "calls are held at a fixed size; the most that all calls in flight can come to stays within this",
}


def overshoot_bound(limit: Limit, *, shared: bool) -> dict[str, Any]:
    """`amount` in the limit's measure, beyond its amount with grace; why it holds, and on what it rests."""
    if not limit.refuses:
        return {"amount": "unbounded", "says": "a soft limit warns; it stops nothing", "rests_on": []}
    bound = format(limit.overshoot_bound.normalize() + 0, "f")
    return {"amount": bound, "says": _HELD[limit.hold], "rests_on": _conditions(limit, shared=shared)}


def _conditions(limit: Limit, *, shared: bool) -> list[str]:
    found = ["every call is checked (one that was not counts when its span arrives, and makes later checks refuse)"]
    found.append(
        "no call outlives its lease without extending it; one that does is not bounded, since what it held is free again "
        "(the guard extends it while a call runs)"
    )
    if limit.measure != "requests":
        found.append(
            "a call takes no more input or output tokens than its check said; what it takes beyond that is not covered (one "
            f"whose check says none is held at its model's most, or at {ASSUMED_INPUT_TOKENS:,} input and "
            f"{ASSUMED_OUTPUT_TOKENS:,} output tokens where no book knows the model)"
        )
    if limit.measure == "cost_usd":
        found.append(
            "calls are charged by tokens, at the tier that the check names and not at a region's surcharge "
            "(images, seconds and searches come on top)"
        )
        if limit.unpriced == "allow":
            found.append("the model has a price (calls without one are let through and count nothing until they are priced)")
    if not isinstance(limit.window, Lifetime | Rolling):
        found.append(f"the application's clock is off by less than {EDGE_US // SECOND} seconds at the end of a window")
    if shared:
        found.append("it was last changed more than a second ago (until they follow, other collectors ask by what it was before)")
    if shared and limit.on_failure == "open":
        found.append("the shared counters can be reached (while they are away, this limit lets calls through and says so)")
    return found
