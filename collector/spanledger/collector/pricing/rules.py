"""Price rules as rows: made, never edited, only superseded; each with its author and an audit row."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from spanledger.collector.pricing.clashing import Places, named
from spanledger.control import Change, Control, NotFound
from spanledger.control.tables import audit, price_rules
from spanledger.prices.rule import ANY, Rule
from spanledger.prices.rule_form import FIELDS, RuleError, moment_of, rule_of
from spanledger.prices.tiers import known_tier

Row = dict[str, Any]

#: All of them are one transaction, in which nobody else can change anything.
MOST_AT_ONCE = 1_000

_TEXTS = ("layer", "scope", "provider", "model", "tier", "region", "hours", "weekdays", "same_as", "note")


class Clash(ValueError):
    """Two rules of the same rank would cover the same calls; both are named."""


class PriceRules:
    """The rules of one control database."""

    def __init__(self, control: Control, made: Iterable[Rule] = ()) -> None:
        """`made` are rules of this database that somebody has made of their rows already."""
        self.control = control
        self._made = {rule.rule_id: rule for rule in made}

    def in_force(self) -> list[Row]:
        """The rules that are not superseded, those for the future included, oldest first."""
        return sorted(self.control.rows(price_rules, price_rules.c.superseded_at.is_(None)), key=lambda row: row["created_at"])

    def rules(self) -> list[Rule]:
        """The rules in force, as the layers take them; fixed monthly costs are no rates and are left out."""
        with self.control.read() as connection:
            return self._standing_rules(connection)

    def _standing_rules(self, connection: sa.Connection) -> list[Rule]:
        """A row that stands is never edited, so that of ten thousand only those are read that have come since the last time."""
        stands = sa.and_(price_rules.c.superseded_at.is_(None), price_rules.c.monthly_usd.is_(None))
        ids = connection.execute(sa.select(price_rules.c.id).where(stands)).scalars().all()
        new = [rule_id for rule_id in ids if rule_id not in self._made]
        made = {rule_id: self._made[rule_id] for rule_id in ids if rule_id in self._made}
        for start in range(0, len(new), MOST_AT_ONCE):
            some = price_rules.c.id.in_(new[start : start + MOST_AT_ONCE])
            rows = connection.execute(sa.select(price_rules).where(some)).mappings()
            made |= {row["id"]: rule_of_row(dict(row)) for row in rows}
        self._made = made
        return list(made.values())

    def state(self, connection: sa.Connection) -> object:
        """What tells one state of all rules from another."""
        rules = price_rules.c
        found = sa.select(sa.func.count(), sa.func.max(rules.created_at), sa.func.max(rules.superseded_at))
        return tuple(connection.execute(found.select_from(price_rules)).one())

    def monthly(self) -> list[Row]:
        """The fixed monthly costs in force."""
        return [row for row in self.in_force() if row["monthly_usd"] is not None]

    def get(self, rule_id: str) -> Row:
        """One rule, superseded or not. Raises `NotFound`."""
        rows = self.control.rows(price_rules, price_rules.c.id == rule_id)
        if not rows:
            raise NotFound(f"there is no price rule {rule_id!r}")
        return rows[0]

    def history(self, rule_id: str) -> list[Row]:
        """The rule and all it came from, newest first, each with what the audit says of it."""
        chain: list[Row] = []
        wanted: str | None = rule_id
        while wanted is not None:
            row = self.get(wanted)
            chain.append(row)
            wanted = row["supersedes"]
        ids = [row["id"] for row in chain]
        written = self.control.rows(audit, audit.c.table_name == "price_rules", audit.c.row_id.in_(ids))
        for row in chain:
            row["audit"] = sorted(
                ({"at": one["at"], "who": one["who"], "action": one["action"], "why": one["why"]}
                 for one in written if one["row_id"] == row["id"]),
                key=lambda one: one["at"],
            )  # fmt: skip
        return chain

    def make(
        self, forms: Sequence[Mapping[str, Any]], *, who: str, why: str | None = None, supersede: str = "", again: bool = False
    ) -> list[Row]:
        """Put rules in force, all or none; the note of each says why in the audit, or else `why`. With `supersede`, the one rule
        takes the place of that one from its `valid_from` on: what was in force before stays as it was. With `again`, forms that
        say what a rule in force says already are left out.

        Raises `RuleError` naming the field (and the number of the form where there are several), `Clash`, `NotFound`.
        """
        if len(forms) > MOST_AT_ONCE:
            raise RuleError("rules", f"{len(forms)} at once; at most {MOST_AT_ONCE}: send them in parts")
        with self.control.change(who=who, why=why) as change:
            made = [self._numbered(forms, number, who, change.now) for number in range(len(forms))]
            new = {row["id"]: "the new rule" if len(made) == 1 else f"rules[{number}]" for number, row in enumerate(made)}
            if supersede:
                self._give_way(change, supersede, made[0])
            if again:
                stands = sa.select(price_rules).where(price_rules.c.superseded_at.is_(None))
                standing = {_said(dict(row)) for row in change.connection.execute(stands).mappings()}
                made = [row for row in made if _said({**row, **_read(row)}) not in standing]
            self._check(change, made, new)
            return [change.insert(price_rules, row, why=row["note"] or None) for row in made]

    def change(self, rule_id: str, fields: Mapping[str, Any], *, who: str, why: str | None = None) -> Row:
        """A rule with other fields in place of this one, from the beginning: for what was entered wrongly.

        A change that changes nothing but says why is a line in the history of the rule, which stays. Raises as `make` does.
        """
        with self.control.change(who=who, why=why) as change:
            was = self._standing(change, rule_id)
            form = {**form_of(was), **fields}
            row = self._row(form, who, change.now)
            if _said({**row, **_read(row)}) == _said(was):
                return change.note(price_rules, rule_id)
            row["supersedes"] = rule_id
            change.update(price_rules, rule_id, {"superseded_at": change.now})
            self._check(change, [row], {row["id"]: "the new rule"})
            return change.insert(price_rules, row)

    def _numbered(self, forms: Sequence[Mapping[str, Any]], number: int, who: str, now: datetime) -> Row:
        try:
            return self._row(forms[number], who, now)
        except RuleError as error:
            raise RuleError(f"rules[{number}].{error.field}" if len(forms) > 1 else error.field, error.says) from None

    def _row(self, form: Mapping[str, Any], who: str, now: datetime) -> Row:
        form = {key: value for key, value in form.items() if value is not None}
        monthly = form.get("monthly_usd")
        if monthly in (None, ""):
            rule_of(form, "new")
        else:
            monthly_of(form)
        row: Row = {name: str(form.get(name) or "") for name in _TEXTS}
        row |= {
            "tier": _tier(row["tier"]),
            "id": uuid.uuid4().hex[:12],
            "layer": form.get("layer") or "contract",
            "provider": form.get("provider") or "*",
            "model": form.get("model") or "*",
            "region": form.get("region") or "*",
            "valid_from": moment_of("valid_from", form.get("valid_from")),
            "valid_to": moment_of("valid_to", form.get("valid_to")),
            "over_tokens": _int(form.get("over_tokens")),
            "upto_tokens": _int(form.get("upto_tokens")),
            "rates": {key: str(value) for key, value in (form.get("rates") or {}).items()},
            "multiplier": _text(form.get("multiplier")),
            "monthly_usd": _text(monthly),
            "priority": int(form.get("priority") or 0),
            "author": who,
            "created_at": now,
            "supersedes": None,
            "superseded_at": None,
        }
        return row

    def _give_way(self, change: Change, rule_id: str, new: Row) -> None:
        old = self._standing(change, rule_id)
        change.update(price_rules, rule_id, {"superseded_at": change.now})
        new["supersedes"] = rule_id
        before = new["valid_from"]
        if before is not None and (old["valid_from"] is None or old["valid_from"] < before):
            kept = {**old, "id": uuid.uuid4().hex[:12], "valid_to": before, "author": new["author"], "created_at": change.now}
            change.insert(price_rules, {**kept, "supersedes": rule_id, "superseded_at": None})

    def _check(self, change: Change, made: Sequence[Row], new: Mapping[str, str]) -> None:
        """Refuse a rule that could cover the same calls as another of the same rank; `new` names those that are made, by id."""
        standing = Places(self._standing_rules(change.connection))
        for mine in made:
            if mine["monthly_usd"] is not None:
                continue
            rule = rule_of_row({**mine, **_read(mine)})
            if other := standing.clashing(rule):
                raise Clash(
                    f"{named(rule, new)} overlaps {named(other, new)}, of the same rank: "
                    + ("" if other.rule_id in new else f"supersede {other.rule_id}, end it first, or ")
                    + "give one of them a priority"
                )
            standing.add(rule)

    def _standing(self, change: Change, rule_id: str) -> Row:
        try:
            row = change.get(price_rules, rule_id)
        except NotFound:
            raise NotFound(f"there is no price rule {rule_id!r}") from None
        if row["superseded_at"] is not None:
            raise Clash(
                f"price rule {rule_id} was superseded on {row['superseded_at']:%Y-%m-%d}: "
                f"change {_listed(self._in_its_place(change, rule_id))}"
            )
        return row

    def _in_its_place(self, change: Change, rule_id: str) -> list[str]:
        """The rules in force that came of one: several, where it changes on a day."""
        after = change.connection.execute(
            sa.select(price_rules.c.id, price_rules.c.superseded_at).where(price_rules.c.supersedes == rule_id)
        ).all()
        return [
            found for one, ended in after for found in ([one] if ended is None else self._in_its_place(change, one))
        ]  # fmt: skip


def rule_of_row(row: Mapping[str, Any]) -> Rule:
    """The rule that a row stands for."""
    return rule_of(form_of(row), row["id"])


def form_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The form that would make a row again; what is not set is left out."""
    # A rule for any tier says so: without a tier, rates are for the standard one.
    form = {name: row[name] for name in FIELDS if row[name] not in (None, "", {}) and (row[name] != ANY or name == "tier")}
    for name in ("valid_from", "valid_to"):
        if name in form:
            form[name] = form[name].astimezone(UTC).isoformat()
    for name in ("multiplier", "monthly_usd"):
        if name in form:
            form[name] = format(form[name], "f")
    return form


def _said(row: Mapping[str, Any]) -> str:
    """All that a rule says about prices, in one text, however its numbers are written."""
    form = {name: value for name, value in form_of(row).items() if name != "note"}
    form |= {name: str(Decimal(form[name]).normalize()) for name in ("multiplier", "monthly_usd") if name in form}
    if rates := form.get("rates"):
        form["rates"] = {unit: str(Decimal(rate).normalize()) for unit, rate in rates.items()}
    return json.dumps(form, sort_keys=True)


def monthly_of(form: Mapping[str, Any]) -> None:
    """Check the form of a fixed monthly cost. Raises `RuleError`."""
    for name in ("rates", "multiplier", "same_as", "tier", "hours", "weekdays", "over_tokens", "upto_tokens"):
        if form.get(name) not in (None, "", {}):
            raise RuleError(name, "does not go with monthly_usd: a fixed cost is the same whatever is used")
    if not form.get("valid_from"):
        raise RuleError("valid_from", "is needed: a fixed cost begins on a day")
    rest = {key: value for key, value in form.items() if key != "monthly_usd"}
    try:
        # An amount of money has the bounds of a rate, and everything else those of a rule.
        rule_of({**rest, "rates": {"requests_kcount": form["monthly_usd"]}}, "new")
    except RuleError as error:
        if not error.field.startswith("rates"):
            raise
        raise RuleError("monthly_usd", error.says.partition(": a discount")[0]) from None


def _listed(ids: Sequence[str]) -> str:
    return " or ".join(ids) or "another one: nothing stands in its place"


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    """Decimals as the database gives them back."""
    return {name: None if row[name] is None else Decimal(row[name]) for name in ("multiplier", "monthly_usd")}


def _tier(text: str) -> str:
    try:
        return text if text == ANY else known_tier(text) or ""
    except ValueError as error:
        raise RuleError("tier", f"{error}, or {ANY} for any") from None


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _int(value: Any) -> int | None:
    return None if value in (None, "") else int(value)
