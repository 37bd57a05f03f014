"""Which limits cover a call, in which bucket of each it counts, and up to what."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple

from spanledger.limits.check import Check
from spanledger.limits.counters.counters import Key, Place
from spanledger.limits.limit import Limit, units_of
from spanledger.limits.selector import DIMENSIONS, Index, Subject
from spanledger.limits.terms import Grant, Pause, Terms
from spanledger.limits.window import FOREVER, SECOND, Lifetime, Rolling, micros, moment

#: Subjects whose limits are remembered. One costs about half a kilobyte; past this the memory starts anew.
REMEMBERED = 100_000
#: How long a session or trace is kept after its last call.
FADES_SECONDS = 30 * 86_400


def place_of(limit: Limit, key: Key, at: int) -> Place:
    """The bucket `key` of a limit in the window that `at` falls into."""
    window = limit.window
    if isinstance(window, Rolling):
        return Place(limit.id, key, 0, FOREVER, window.slot_us, window.seconds * SECOND)
    start, end = window.span(at)
    return Place(limit.id, key, start, end, 0, FADES_SECONDS * SECOND if fades(limit) else 0)


def fades(limit: Limit) -> bool:
    """Whether its buckets are forgotten when nobody uses them: there are ever more sessions and traces, and they end."""
    return isinstance(limit.window, Lifetime) and ("session" in limit.per or "trace" in limit.per)


def scope_of(limit: Limit, key: Key) -> str:
    """Whom a bucket covers, as people read it: `tenant=acme user=u-1`."""
    per = dict(zip(limit.per, key, strict=True))
    parts = [f"tier={limit.tier}"] if limit.tier else []
    parts += [f"{name}={'|'.join(patterns)}" for name, patterns in limit.selectors.items() if name not in per]
    parts += [f"{name}={'(not given)' if value is None else value}" for name, value in per.items()]
    return " ".join(parts) or "everyone"


def is_valid(limit: Limit, at: int) -> bool:
    """Whether a limit is in force at a moment; what it counts does not depend on that."""
    when = moment(at)
    return not (limit.valid_from and when < limit.valid_from) and not (limit.valid_to and when >= limit.valid_to)


class Covered:
    """One limit that covers a subject: the place where it counts now, and what it stops at.

    `plain`: what it asks of a check depends on nothing but the call's size.
    """

    __slots__ = ("_grants", "cap", "key", "limit", "place", "plain")

    def __init__(self, limit: Limit, key: Key, at: int, grants: Sequence[Grant]) -> None:
        self.limit = limit
        self.key = key
        self.place = place_of(limit, key, at)
        self._grants = [g for g in grants if g.subject is None or g.subject == key]
        self.cap = cap_of(limit, self._grants, at)
        self.plain = not self._grants and not limit.rollover and limit.hold == "worst_case"

    def at(self, at: int) -> Place:
        """The bucket in the window that `at` falls into."""
        place = self.place
        if not place.start <= at < place.end:
            place = self.place = place_of(self.limit, self.key, at)
        return place

    def warns_from(self, cap: int) -> int | None:
        """The units from which on checks warn, where it stops at `cap`."""
        limit = self.limit
        return limit.first_threshold if self.plain or cap < 0 else first_threshold_of(limit, cap)

    def cap_at(self, at: int) -> int:
        """What it stops at, in units, with grants and grace."""
        return cap_of(self.limit, self._grants, at) if self._grants else self.cap


def in_force(limit: Limit, cap: int) -> Decimal:
    """The amount that a limit has with its grants and what rolled over, in units: `cap` is that with the grace."""
    return Decimal(cap) / (1 + limit.grace)


def first_threshold_of(limit: Limit, cap: int) -> int | None:
    """The units from which on checks warn, where the limit stops at `cap`."""
    first = min(limit.thresholds, default=None)
    return None if first is None else math.ceil(in_force(limit, cap) * first)


def cap_of(limit: Limit, grants: Sequence[Grant], at: int) -> int:
    """The amount in units, with the grants that hold at a moment, and the grace."""
    if not grants:
        return limit.stop
    amount = limit.amount
    added = Decimal(0)
    for grant in grants:
        if micros(grant.valid_from) <= at < micros(grant.expires_at):
            if grant.kind == "override":
                amount = grant.amount
            else:
                added += grant.amount
    return units_of(limit.measure, (amount + added) * (1 + limit.grace))


class Cover(NamedTuple):
    """All that has a say about a subject's call."""

    limits: list[Covered]
    pauses: list[Pause]


@dataclass(frozen=True, slots=True)
class _Selecting:
    """A limit or pause with the selectors that decide; a limit's tier is one of them."""

    of: Limit | Pause
    selectors: Mapping[str, tuple[str, ...]]


class Covering:
    """All enabled limits, ready to be asked. Never changed: a new one is built when a limit is."""

    def __init__(self, limits: Iterable[Limit], terms: Terms | None = None) -> None:
        self.limits: Mapping[str, Limit] = {limit.id: limit for limit in limits}
        self.terms = terms = terms or Terms()
        self.enabled = tuple(limit for limit in self.limits.values() if limit.enabled)
        selecting = [_Selecting(limit, self._selectors(limit)) for limit in self.enabled]
        selecting += [_Selecting(pause, pause.selectors) for pause in terms.pauses if pause.limit_id is None]
        #: What a limit paused is a bucket of its own: (limit, key).
        self.paused = {
            (limit.id, pause.key(limit.per)): pause
            for pause in terms.pauses
            if pause.limit_id is not None and (limit := self.limits.get(pause.limit_id)) is not None
        }
        #: No check need look at those that are over.
        self._grants = {
            limit_id: [grant for grant in grants if terms.read_at is None or grant.expires_at > terms.read_at]
            for limit_id, grants in terms.grants.items()
        }
        self._index = Index(selecting)
        used = {name for one in selecting for name in one.selectors} | {name for limit in self.enabled for name in limit.per}
        self._tiered = {name[5:] for name in used if name.startswith("tier.")}
        used = {name for name in used if not name.startswith("tier.")} | self._tiered
        self._names = tuple(name for name in (*DIMENSIONS, *sorted(used.difference(DIMENSIONS))) if name in used)
        #: The dimensions that some limit or pause looks at.
        self.looks_at = self._names
        #: Where a check names no provider, its model tells it.
        self._by_provider = "provider" in self._names
        self._known: dict[Key, Cover] = {}
        plain = len(self._names) > 1 and not any(name.startswith("tag.") for name in self._names)
        self._key_of = attrgetter(*self._names) if plain else None
        self.counts_money = any(limit.measure == "cost_usd" for limit in self.enabled)
        self.learns = any(limit.hold == "learned" for limit in self.enabled)
        self._dated = any(limit.valid_from or limit.valid_to for limit in self.enabled)

    def dimensions(self, limit: Limit) -> frozenset[str]:
        """The dimensions that decide whether and where something counts under a limit."""
        tiered = self.tier_dimension(limit)
        return frozenset((*limit.selectors, *limit.per, *((tiered,) if tiered else ())))

    def tier_dimension(self, limit: Limit) -> str | None:
        """The dimension whose values a limit's tier has as members; None where it has no tier, or one that is gone."""
        tier = self.terms.tier(limit.tier) if limit.tier else None
        return tier.dimension if tier else None

    def cover(self, subject: Subject, at: int) -> Cover:
        """The limits and pauses that cover a subject and are in force at a moment."""
        cover = self.all(subject, at)
        if not self._dated:
            return cover
        pauses = [p for p in cover.pauses if p.limit_id is None or is_valid(self.limits[p.limit_id], at)]
        return Cover([covered for covered in cover.limits if is_valid(covered.limit, at)], pauses)

    def cover_check(self, check: Check, at: int) -> Cover:
        """The same for a check; it need not be spelled out as a subject when it is known already."""
        if self._key_of is not None and not self._dated and (check.provider is not None or not self._by_provider):
            cover = self._known.get(self._key_of(check))
            if cover is not None:
                return cover
        return self.cover(check.subject(), at)

    def all(self, subject: Subject, at: int) -> Cover:
        """All that cover a subject, in force or not: a limit counts before it begins to refuse."""
        key = tuple([subject.get(name) for name in self._names])
        cover = self._known.get(key)
        if cover is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            cover = self._known[key] = self._cover(subject, at)
        return cover

    def _cover(self, subject: Subject, at: int) -> Cover:
        if self._tiered:
            tiers = {f"tier.{name}": self.terms.tier_of(name, subject.get(name)) for name in self._tiered}
            subject = {**subject, **tiers}
        cover = Cover([], [])
        for found in self._index.find(subject):
            if isinstance(found.of, Pause):
                cover.pauses.append(found.of)
            else:
                limit = found.of
                key = tuple([subject.get(name) for name in limit.per])
                cover.limits.append(Covered(limit, key, at, self._grants.get(limit.id, ())))
                if (pause := self.paused.get((limit.id, key))) is not None:
                    cover.pauses.append(pause)
        return cover

    def _selectors(self, limit: Limit) -> Mapping[str, tuple[str, ...]]:
        if limit.tier is None:
            return limit.selectors
        # A limit of a tier that is gone covers nobody.
        return {**limit.selectors, f"tier.{self.tier_dimension(limit) or 'tenant'}": (limit.tier,)}
