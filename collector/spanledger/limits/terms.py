"""What bends limits for some: tiers, pauses, top-ups, overrides and resets. Read from the control database as one value."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from spanledger.control import TABLES, Control
from spanledger.limits.check import pattern_as_kept
from spanledger.limits.counters.counters import Key
from spanledger.limits.errors import LimitError
from spanledger.limits.selector import DIMENSIONS, is_dimension, matches

GrantKind = Literal["top_up", "override"]
TIER_FIELDS = ("name", "dimension", "is_default", "members", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A named set of limits; whoever is assigned to it is under them. A value of its dimension has one tier."""

    id: str
    name: str
    dimension: str
    is_default: bool = False
    members: tuple[str, ...] = ()
    description: str | None = None
    source: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Everything that its selectors cover is refused until `until`, or until someone resumes it.

    One that a limit made (`limit_id`) is of one bucket of it: its selectors name the bucket, and match nothing by themselves.
    """

    id: str
    selectors: Mapping[str, tuple[Any, ...]]
    reason: str
    since: datetime
    until: datetime | None = None
    limit_id: str | None = None

    def key(self, per: Sequence[str]) -> Key:
        """The bucket of its limit."""
        return tuple([self.selectors.get(name, (None,))[0] for name in per])

    def touches(self, subject: Mapping[str, str | None]) -> bool:
        """Whether it may be about a subject; what the subject does not say is left open."""
        return all(
            name not in subject or subject[name] in values or matches([v for v in values if v is not None], subject[name])
            for name, values in self.selectors.items()
        )

    @property
    def scope(self) -> str:
        """Whom it covers, as people read it."""
        named = ((name, "|".join("(not given)" if value is None else value for value in values))
                 for name, values in self.selectors.items())  # fmt: skip
        return " ".join(f"{name}={values}" for name, values in named) or "everyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """For a time, more than the limit's amount (`top_up`) or something else instead of it (`override`)."""

    id: str
    limit_id: str
    kind: GrantKind
    subject: Key | None
    amount: Decimal
    valid_from: datetime
    expires_at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """What a bucket had counted when someone reset it: (moment, units)."""

    id: str
    limit_id: str
    key: Key
    forgotten: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """All of it, as it stood when it was read."""

    tiers: tuple[Tier, ...] = ()
    pauses: tuple[Pause, ...] = ()
    grants: Mapping[str, tuple[Grant, ...]] = field(default_factory=dict)
    resets: Mapping[str, tuple[Reset, ...]] = field(default_factory=dict)
    read_at: datetime | None = None

    @staticmethod
    def load(control: Control, now: datetime | None = None) -> "Terms":
        """As the control database has it; without the pauses that are over `now`. Grants that are over are for back-tests."""
        grants: dict[str, list[Grant]] = {}
        for row in control.rows(TABLES["grants"]):
            grants.setdefault(row["limit_id"], []).append(_grant(row))
        resets: dict[str, list[Reset]] = {}
        for row in control.rows(TABLES["resets"]):
            forgotten = tuple((at, units) for at, units in row["forgotten"])
            reset = Reset(id=row["id"], limit_id=row["limit_id"], key=tuple(row["subject"]), forgotten=forgotten)
            resets.setdefault(row["limit_id"], []).append(reset)
        return Terms(
            tuple(_tier(row) for row in control.rows(TABLES["tiers"])),
            tuple(_pause(row) for row in control.rows(TABLES["pauses"]) if now is None or not row["until"] or row["until"] > now),
            {limit: tuple(sorted(found, key=lambda g: g.valid_from)) for limit, found in grants.items()},
            {limit: tuple(found) for limit, found in resets.items()},
            now,
        )

    def tier(self, name: str) -> Tier | None:
        return next((tier for tier in self.tiers if tier.name == name), None)

    def tier_of(self, dimension: str, value: str | None) -> str | None:
        """The tier that a value of a dimension is in: by its own name, by its longest prefix, or by default."""
        best, best_length = None, -1
        for tier in self.tiers:
            if tier.dimension != dimension:
                continue
            if tier.is_default and best is None:
                best = tier.name
            for member in tier.members:
                length = len(member) + (not member.endswith("*"))
                if length > best_length and matches((member,), value):
                    best, best_length = tier.name, length
        return best


def moved_between(before: Terms, after: Terms) -> set[str]:
    """The dimensions of which some value may be in another tier than before."""

    def membership(terms: Terms) -> set[tuple[str, str, str | None]]:
        everyone = ((tier, (*tier.members, None) if tier.is_default else tier.members) for tier in terms.tiers)
        return {(tier.dimension, tier.name, member) for tier, members in everyone for member in members}

    return {dimension for dimension, _, _ in membership(before) ^ membership(after)}


def tier_from(fields: Mapping[str, Any], tier_id: str, others: Iterable[Tier], source: str = "api") -> Tier:
    """A tier as someone writes it. Raises `LimitError` naming the field."""
    for given in fields:
        if given not in TIER_FIELDS:
            raise LimitError(given, f"is not a field of a tier (known: {', '.join(TIER_FIELDS)})")
    name, members = fields.get("name"), fields.get("members", [])
    if not isinstance(name, str) or not name.strip() or len(name) > 200 or "\0" in name:
        raise LimitError("name", "must be a text of 1 to 200 characters, none of them NUL")
    dimension = fields.get("dimension", "tenant")
    if not isinstance(dimension, str) or not is_dimension(dimension):
        raise LimitError("dimension", f"must be one of {', '.join(DIMENSIONS)} or tag.<key>, not {dimension!r}")
    is_default = fields.get("is_default", False)
    if not isinstance(is_default, bool):
        raise LimitError("is_default", "must be true or false")
    tier = Tier(
        id=tier_id,
        name=name,
        dimension=dimension,
        is_default=is_default,
        members=members_of(members, dimension),
        description=fields.get("description"),
        source=source,
    )
    for other in others:
        if other.id == tier.id:
            continue
        if _alike(other.name) == _alike(tier.name):
            raise LimitError("name", f"there is already a tier {other.name!r}")
        if other.dimension == tier.dimension and other.is_default and tier.is_default:
            raise LimitError("is_default", f"tier {other.name!r} is already the default for {tier.dimension}")
        if other.dimension == tier.dimension and (both := set(other.members) & set(tier.members)):
            there = f"{', '.join(sorted(both))} is already in tier {other.name!r}"
            raise LimitError("members", f"{there}; POST /api/tiers/{{id}}/members and `spanledger tiers move` move it")
    return tier


def members_of(given: Any, dimension: str) -> tuple[str, ...]:
    """Members of a dimension as the ledger names them, each once. Raises `LimitError`."""
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(m, str) and m for m in given):
        raise LimitError("members", "must be a list of values; abc* is a prefix")
    if any("*" in member[:-1] for member in given):
        raise LimitError("members", '"*" may stand at the end of a member only')
    return tuple(dict.fromkeys(pattern_as_kept(dimension, member) for member in given))


def _alike(name: str) -> str:
    """Two tiers whose names people could take for one another are a mistake."""
    return " ".join(name.casefold().split())


def configured_tiers(given: Sequence[Mapping[str, Any]], known: Iterable[Tier] = ()) -> list[Tier]:
    """The tiers of the configuration; one that was there keeps its id. Raises `LimitError` with the place in the list."""
    before = {tier.name: tier.id for tier in known if tier.source == "config"}
    others = [tier for tier in known if tier.source != "config"]
    wanted: list[Tier] = []
    for place, fields in enumerate(given):
        tier_id = before.get(fields.get("name", ""), f"tier_{secrets.token_hex(8)}")
        try:
            wanted.append(tier_from(fields, tier_id, (*others, *wanted), "config"))
        except LimitError as error:
            raise LimitError(f"tiers[{place}].{error.field}", error.text) from None
    return wanted


def tier_row(tier: Tier) -> dict[str, Any]:
    """As the control database keeps it and the API shows it."""
    return {
        "id": tier.id,
        "name": tier.name,
        "dimension": tier.dimension,
        "is_default": tier.is_default,
        "members": list(tier.members),
        "description": tier.description,
        "source": tier.source,
    }


def _tier(row: Mapping[str, Any]) -> Tier:
    return Tier(**{**row, "members": tuple(row["members"])})


def _pause(row: Mapping[str, Any]) -> Pause:
    selectors = {name: tuple(_kept(name, value) for value in values) for name, values in row["selectors"].items()}
    return Pause(**{**row, "selectors": selectors})


def _kept(name: str, value: str | None) -> str | None:
    return None if value is None else pattern_as_kept(name, value)


def _grant(row: Mapping[str, Any]) -> Grant:
    return Grant(**{**row, "subject": None if row["subject"] is None else tuple(row["subject"])})
