"""Resets: what a bucket has counted in its window is forgotten, and stays so when that is corrected later."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from spanledger.control import TABLES, Change, Control
from spanledger.limits.counters.counters import Key, Place
from spanledger.limits.covering import place_of
from spanledger.limits.limit import Limit
from spanledger.limits.terms import Reset, Terms
from spanledger.limits.window import moment

if TYPE_CHECKING:
    from spanledger.limits.limits import Limits


class Resets:
    """Writes them to the control database, and takes what they forget out of the counters."""

    def __init__(self, control: Control, limits: "Limits") -> None:
        self._control = control
        self._limits = limits

    def make(self, limit: Limit, key: Key, *, reason: str, who: str) -> Decimal:
        """Forget what a bucket has counted in its window so far; gives what that was, in units."""
        place = place_of(limit, key, self._limits.micros())
        counted = [(at, units) for at, units in self._counted(limit, place) if units]
        row = {"limit_id": limit.id, "subject": list(key), "at": moment(self._limits.micros()), "reason": reason}
        with self._control.change(who=who, why=reason) as change:
            change.insert(TABLES["resets"], row | {"forgotten": [list(pair) for pair in counted]})
        self._limits.reload()
        self._limits.forget(place, counted)
        return Decimal(sum(units for _, units in counted))

    def correct(self, places: Iterable[Place]) -> None:
        """Calls that were forgotten may turn out cheaper, or as none: less is forgotten then, or the bucket would stand below
        nothing and let through more than its limit. `places` are those that were just counted."""
        resets = self._limits.covering.terms.resets
        if not resets:
            return
        for limit_id, key in {(place.limit_id, place.key) for place in places if place.limit_id in resets}:
            limit = self._limits.covering.limits.get(limit_id)
            if limit is None or all(reset.key != key for reset in resets[limit_id]):
                continue
            place = place_of(limit, key, self._limits.micros())
            missing = {at: -units for at, units in self._counted(limit, place) if units < 0}
            if missing and (given := self._give_back(limit, place, missing)):
                self._limits.reload()
                self._limits.forget(place, [(at, -units) for at, units in given.items()])

    def _give_back(self, limit: Limit, place: Place, missing: Mapping[int, int]) -> dict[int, int]:
        """Let resets forget less; gives how much of what is missing each moment gets."""
        given: dict[int, int] = {}
        with self._control.change(who=f"limit {limit.name}", why="what it had counted was corrected") as change:
            for reset in Terms.load(self._control).resets.get(limit.id, ()):
                if reset.key == place.key:
                    _shorten(change, reset, missing, given)
        return given

    def _counted(self, limit: Limit, place: Place) -> list[tuple[int, int]]:
        if place.width:
            return [(slot * place.width, units) for slot, units in self._limits.slots(place)]
        [asked] = self._limits.standing(limit, [place.key])
        return [(max(place.start, 0), asked.reading.used)]


def _shorten(change: Change, reset: Reset, missing: Mapping[int, int], given: dict[int, int]) -> None:
    forgotten = []
    for at, units in reset.forgotten:
        less = max(0, min(units, missing.get(at, 0) - given.get(at, 0)))
        if less:
            given[at] = given.get(at, 0) + less
        forgotten.append((at, units - less))
    shorter = replace(reset, forgotten=tuple(forgotten))
    if shorter != reset:
        change.update(TABLES["resets"], reset.id, {"forgotten": [list(pair) for pair in shorter.forgotten]})
