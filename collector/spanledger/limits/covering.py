"""Which limits cover a call, and in which bucket of each it counts."""

from collections.abc import Iterable, Mapping

from spanledger.limits.limit import Limit
from spanledger.limits.memory import Key, Place
from spanledger.limits.selector import DIMENSIONS, Index, Subject
from spanledger.limits.window import FOREVER, SECOND, Rolling, moment

#: Subjects whose limits are remembered. One costs about half a kilobyte; past this the memory starts anew.
REMEMBERED = 100_000


def place_of(limit: Limit, key: Key, at: int) -> Place:
    """The bucket `key` of a limit in the window that `at` falls into."""
    window = limit.window
    if isinstance(window, Rolling):
        return Place(limit.id, key, 0, FOREVER, window.slot_us, window.seconds * SECOND)
    start, end = window.span(at)
    return Place(limit.id, key, start, end)


def scope_of(limit: Limit, key: Key) -> str:
    """Whom a bucket covers, as people read it: `tenant=acme user=u-1`."""
    per = dict(zip(limit.per, key, strict=True))
    parts = [f"{name}={'|'.join(patterns)}" for name, patterns in limit.selectors.items() if name not in per]
    parts += [f"{name}={'(not given)' if value is None else value}" for name, value in per.items()]
    return " ".join(parts) or "everyone"


class Covered:
    """One limit that covers a subject, and the place where it counts now."""

    __slots__ = ("key", "limit", "place")

    def __init__(self, limit: Limit, key: Key, at: int) -> None:
        self.limit = limit
        self.key = key
        self.place = place_of(limit, key, at)

    def at(self, at: int) -> Place:
        place = self.place
        if not place.start <= at < place.end:
            place = self.place = place_of(self.limit, self.key, at)
        return place


class Covering:
    """All enabled limits, ready to be asked. Never changed: a new one is built when a limit is."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self.limits: Mapping[str, Limit] = {limit.id: limit for limit in limits}
        self.enabled = tuple(limit for limit in self.limits.values() if limit.enabled)
        self._index = Index(self.enabled)
        used = {name for limit in self.enabled for name in (*limit.selectors, *limit.per)}
        self._names = tuple(name for name in (*DIMENSIONS, *sorted(used.difference(DIMENSIONS))) if name in used)
        self._known: dict[Key, list[Covered]] = {}
        self.counts_money = any(limit.measure == "cost_usd" for limit in self.enabled)
        self._dated = any(limit.valid_from or limit.valid_to for limit in self.enabled)

    def cover(self, subject: Subject, at: int) -> list[Covered]:
        """The limits that cover a subject at a moment."""
        key = tuple([subject.get(name) for name in self._names])
        covered = self._known.get(key)
        if covered is None:
            found = self._index.find(subject)
            covered = [Covered(limit, tuple([subject.get(name) for name in limit.per]), at) for limit in found]
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = covered
        return covered if not self._dated else [c for c in covered if is_valid(c.limit, at)]


def is_valid(limit: Limit, at: int) -> bool:
    """Whether a limit is in force at a moment; what it counts does not depend on that."""
    when = moment(at)
    return not (limit.valid_from and when < limit.valid_from) and not (limit.valid_to and when >= limit.valid_to)
