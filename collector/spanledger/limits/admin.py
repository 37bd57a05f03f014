"""What people do to limits at run time: tiers, pauses, top-ups, overrides and resets, all of it audited."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from spanledger.control import TABLES, Control, NotFound
from spanledger.limits.check import as_kept
from spanledger.limits.counters.counters import CountersAway, Key, Place
from spanledger.limits.covering import in_force, is_valid, place_of
from spanledger.limits.errors import LimitError
from spanledger.limits.expects import Expects, anything
from spanledger.limits.limit import LARGEST, Limit, between, moment_of
from spanledger.limits.resets import Resets
from spanledger.limits.selector import selectors_of
from spanledger.limits.terms import TIER_FIELDS, Grant, GrantKind, Pause, Terms, Tier, members_of, tier_from, tier_row
from spanledger.limits.window import moment

if TYPE_CHECKING:
    from spanledger.limits.limits import Limits


class Admin:
    """Writes to the control database, and lets the limits take it from there."""

    def __init__(self, control: Control, limits: "Limits") -> None:
        self._control = control
        self._limits = limits
        self.resets = Resets(control, limits)
        #: Limits that the configuration has made otherwise, and that may not be counted yet.
        self.reconfigured: list[Limit] = []

    # — tiers —

    def tiers(self) -> Sequence[Tier]:
        """All tiers, by name."""
        return sorted(self._limits.covering.terms.tiers, key=lambda tier: tier.name)

    def put_tier(
        self,
        fields: Mapping[str, Any],
        *,
        who: str,
        tier_id: str | None = None,
        why: str | None = None,
        expects: Expects = anything,
    ) -> Tier:
        """Add a tier, or change the one with this id. Raises `LimitError`, `NotFound`, and what `expects` does of it."""
        with self._limits.in_step():
            with self._control.change(who=who, why=why) as change:
                tiers = Terms.load(self._control).tiers
                if tier_id is None:
                    tier = tier_from(fields, f"tier_{secrets.token_hex(8)}", tiers)
                    change.insert(TABLES["tiers"], tier_row(tier))
                else:
                    was = _expected(tiers, tier_id, expects)
                    _may_change(was)
                    before = {name: value for name, value in tier_row(was).items() if name in TIER_FIELDS}
                    tier = tier_from(before | {**fields}, tier_id, tiers)
                    if was.name != tier.name and self._has_limits(was):
                        raise LimitError("name", f"limits are of tier {was.name!r}; it keeps its name while they are")
                    change.update(TABLES["tiers"], tier.id, tier_row(tier))
            self._limits.reload()
        return tier

    def move(self, members: Any, tier_id: str, *, who: str, why: str | None = None, expects: Expects = anything) -> Tier:
        """Put values into a tier, out of those of its dimension that they are in by name: one change, with nothing between.

        Gives the tier as it is then. Raises `LimitError`, `NotFound`, and what `expects` does of the tier as it was.
        """
        with self._limits.in_step():
            with self._control.change(who=who, why=why) as change:
                tiers = Terms.load(self._control).tiers
                to = _expected(tiers, tier_id, expects)
                moved = members_of(members, to.dimension)
                if not moved:
                    raise LimitError("members", "must name whom to move")
                others = [tier for tier in tiers if tier.id != to.id and tier.dimension == to.dimension]
                left = [replace(tier, members=tuple(m for m in tier.members if m not in moved)) for tier in others]
                without = Terms((to, *left))
                # Into a default tier of the configuration one comes by leaving the others.
                if to.source != "config" or any(without.tier_of(to.dimension, member) != to.name for member in moved):
                    to = replace(to, members=tuple(dict.fromkeys((*to.members, *moved))))
                changed = [tier for tier in (to, *left) if tier not in tiers]
                for tier in changed:
                    _may_change(tier)
                    change.update(TABLES["tiers"], tier.id, tier_row(tier))
            if changed:
                self._limits.reload()
        return to

    def delete_tier(self, tier_id: str, *, who: str, why: str | None = None, expects: Expects = anything) -> None:
        """Remove a tier that no limit is of. Raises `LimitError`, `NotFound`, and what `expects` does of it."""
        with self._limits.in_step():
            with self._control.change(who=who, why=why) as change:
                tier = _expected(Terms.load(self._control).tiers, tier_id, expects)
                _may_change(tier)
                if self._has_limits(tier):
                    raise LimitError("id", f"limits are of tier {tier.name!r}; remove them first")
                change.delete(TABLES["tiers"], tier_id)
            self._limits.reload()

    def _has_limits(self, tier: Tier) -> bool:
        return bool(self._control.rows(TABLES["limits"], TABLES["limits"].c.tier == tier.name))

    # — pauses —

    def pauses(self) -> Sequence[Pause]:
        """All pauses in force, newest first."""
        now = moment(self._limits.micros())
        found = [p for p in self._limits.covering.terms.pauses if p.until is None or p.until > now]
        return sorted(found, key=lambda pause: pause.since, reverse=True)

    def pause(self, selectors: Mapping[str, Any], *, reason: str, who: str, until: datetime | None = None) -> Pause:
        """Refuse all calls that the selectors cover until `until`, or until someone resumes them. Raises `LimitError`."""
        read = selectors_of(selectors)
        if not read:
            raise LimitError("selectors", "must say whom to pause")
        if until is not None and until <= moment(self._limits.micros()):
            raise LimitError("until", "must be later than now")
        return self._pause(read, _reason(reason), who=who, until=until)

    def _pause(
        self,
        selectors: Mapping[str, tuple[Any, ...]],
        reason: str,
        *,
        who: str,
        until: datetime | None = None,
        limit_id: str | None = None,
    ) -> Pause:
        pause = Pause(
            id=f"pause_{secrets.token_hex(8)}",
            selectors=selectors,
            reason=reason,
            since=moment(self._limits.micros()),
            until=until,
            limit_id=limit_id,
        )
        row = {name: getattr(pause, name) for name in ("id", "reason", "limit_id", "since", "until")}
        with self._limits.in_step():
            with self._control.change(who=who, why=reason) as change:
                change.insert(TABLES["pauses"], row | {"selectors": {name: list(values) for name, values in selectors.items()}})
            self._limits.reload()
        return pause

    def resume(self, pause_id: str, *, who: str, reason: str | None = None) -> None:
        """End a pause. Raises `NotFound`."""
        with self._limits.in_step():
            with self._control.change(who=who, why=reason) as change:
                change.delete(TABLES["pauses"], pause_id)
            self._limits.reload()

    def pause_the_overspent(self, places: Iterable[Place]) -> None:
        """Pause whom a limit with action `pause` finds far enough beyond it. `places` are those that were just counted."""
        limits = self._limits.covering.limits
        for place in places:
            limit = limits.get(place.limit_id)
            if limit is None or limit.action != "pause" or not is_valid(limit, self._limits.micros()):
                continue
            if (limit.id, place.key) not in self._limits.covering.paused and (share := self._overspent(limit, place.key)):
                whom = {**limit.selectors, **dict(zip(limit.per, ((value,) for value in place.key), strict=True))}
                self._pause(whom, f"{limit.name!r} is at {share}", who=f"limit {limit.name}", limit_id=limit.id)

    def resume_the_recovered(self, limit: Limit, *, who: str, why: str) -> None:
        """A limit that was raised, or has forgotten what it had counted, lets those go on whom it would not pause now; while
        counters are away, nobody."""
        of_limit = [(key, pause) for (limit_id, key), pause in self._limits.covering.paused.items() if limit_id == limit.id]
        with suppress(CountersAway):
            for key, pause in of_limit:
                if not self._overspent(limit, key):
                    try:
                        self.resume(pause.id, who=who, reason=f"{limit.name!r} {why}")
                    except NotFound:  # another collector was quicker
                        self._limits.reload()

    def resume_the_reconfigured(self) -> None:
        """The same for the limits that the configuration has raised."""
        limits, self.reconfigured = self.reconfigured, []
        for limit in limits:
            self.resume_the_recovered(limit, who="configuration", why="was changed")

    def _overspent(self, limit: Limit, key: Key) -> str | None:
        """How much of a limit is used, for people, where that is enough to pause the bucket."""
        [asked] = self._limits.standing(limit, [key])
        used, amount = asked.reading.used, in_force(limit, asked.demand.cap)
        if limit.action != "pause" or used < max(amount * limit.pause_at, Decimal(1)):
            return None
        return f"{used * 100 / amount:.0f} % of its amount" if amount else "its amount, which is nothing"

    # — grants and resets —

    def grants(self, limit_id: str | None = None) -> Sequence[Grant]:
        """Top-ups and overrides that are not over, newest first."""
        now = moment(self._limits.micros())
        found = [g for grants in self._limits.covering.terms.grants.values() for g in grants]
        kept = [g for g in found if g.expires_at > now and limit_id in (None, g.limit_id)]
        return sorted(kept, key=lambda grant: grant.valid_from, reverse=True)

    def grant(
        self,
        limit: Limit,
        kind: GrantKind,
        amount: Any,
        *,
        reason: str,
        who: str,
        subject: Mapping[str, str | None] | None = None,
        expires_at: Any = None,
        valid_from: Any = None,
    ) -> Grant:
        """Give a limit, or one bucket of it, more (`top_up`) or another amount (`override`) for a time. Raises `LimitError`.

        Without `expires_at` a top-up ends with the window, or after a day where the window has no end.
        """
        number = between(Decimal(0), LARGEST, above=kind == "top_up")("amount", amount)
        if limit.measure != "cost_usd" and number != number.to_integral_value():
            raise LimitError("amount", f"must be a whole number of {limit.measure}, not {amount}")
        now = moment(self._limits.micros())
        start = now if valid_from is None else moment_of("valid_from", valid_from)
        end = self._default_end(limit) if expires_at is None else moment_of("expires_at", expires_at)
        if end <= max(start, now):
            raise LimitError("expires_at", "must be later than now and than valid_from")
        grant = Grant(
            id=f"grant_{secrets.token_hex(8)}",
            limit_id=limit.id,
            kind=kind,
            subject=None if subject is None else key_of(limit, subject),
            amount=number,
            valid_from=start,
            expires_at=end,
            reason=_reason(reason),
        )
        row = {name: getattr(grant, name) for name in ("id", "limit_id", "kind", "amount", "valid_from", "expires_at", "reason")}
        with self._limits.in_step():
            with self._control.change(who=who, why=reason) as change:
                change.insert(TABLES["grants"], row | {"subject": None if grant.subject is None else list(grant.subject)})
            self._limits.reload()
            self.resume_the_recovered(limit, who=who, why="got a top-up" if kind == "top_up" else "got an override")
        return grant

    def revoke_grant(self, grant_id: str, *, who: str, reason: str | None = None) -> None:
        """End a top-up or override early. Raises `NotFound`."""
        with self._limits.in_step():
            with self._control.change(who=who, why=reason) as change:
                change.delete(TABLES["grants"], grant_id)
            self._limits.reload()

    def reset(self, limit: Limit, subject: Mapping[str, str | None], *, reason: str, who: str) -> Decimal:
        """Forget what one bucket has counted in its window so far; gives what that was, in units. Raises `LimitError`."""
        key, why = key_of(limit, subject), _reason(reason)
        with self._limits.in_step():
            forgotten = self.resets.make(limit, key, reason=why, who=who)
            self.resume_the_recovered(limit, who=who, why="was reset")
        return forgotten

    def _default_end(self, limit: Limit) -> datetime:
        now = self._limits.micros()
        end = limit.window.span(now)[1]
        ends = moment(end)
        return ends if end > now and ends.year < 9999 and not place_of(limit, (), now).width else moment(now) + timedelta(days=1)


def key_of(limit: Limit, subject: Mapping[str, str | None]) -> Key:
    """The bucket of a limit that a subject is in. Raises `LimitError` naming what is missing or too much."""
    for name in subject:
        if name not in limit.per:
            raise LimitError(f"subject.{name}", f"{limit.name!r} is not per {name}")
    for name in limit.per:
        if name not in subject:
            raise LimitError(f"subject.{name}", f"is required: {limit.name!r} has a bucket for each")
    return tuple(as_kept(name, subject[name]) for name in limit.per)


def _expected(tiers: Sequence[Tier], tier_id: str, expects: Expects) -> Tier:
    was = next((tier for tier in tiers if tier.id == tier_id), None)
    if was is None:
        raise NotFound(f"there is no tier {tier_id!r}")
    expects(was)
    return was


def _may_change(tier: Tier) -> None:
    """Raises `LimitError` for a tier of the configuration."""
    if tier.source == "config":
        raise LimitError("id", f"tier {tier.name!r} stands in the configuration file; change it there")


def _reason(reason: Any) -> str:
    if not isinstance(reason, str) or not reason.strip():
        raise LimitError("reason", "is required: it stands in the audit")
    return reason
