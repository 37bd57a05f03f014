"""Price rules as rows: made, never edited, only superseded; each with its author and an audit row."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from spanledger.control import Change, Control, NotFound
from spanledger.control.tables import audit, price_rules
from spanledger.prices.rule import Rule
from spanledger.prices.rule_form import FIELDS, RuleError, moment_of, rule_of

Row = dict[str, Any]

#: All of them are one transaction, in which nobody else can change anything.
MOST_AT_ONCE = 1_000

_TEXTS = ("layer", "scope", "provider", "model", "tier", "region", "hours", "weekdays", "same_as", "note")


class Clash(ValueError):
    """Two rules of the same rank would cover the same calls; both are named."""


class PriceRules:
    """The rules of one control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def in_force(self) -> list[Row]:
        """The rules that are not superseded, those for the future included, oldest first."""
        return sorted(self.control.rows(price_rules, price_rules.c.superseded_at.is_(None)), key=lambda row: row["created_at"])

    def rules(self) -> list[Rule]:
        """The rules in force, as the layers take them; fixed monthly costs are no rates and are left out."""
        return [rule_of_row(row) for row in self.in_force() if row["monthly_usd"] is None]

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

    def make(self, forms: Sequence[Mapping[str, Any]], *, who: str, why: str | None = None, supersede: str = "") -> list[Row]:
        """Put rules in force, all or none. With `supersede`, the one rule takes the place of that one from its
        `valid_from` on: what was in force before stays as it was.

        Raises `RuleError` naming the field (and the number of the form where there are several), `Clash`, `NotFound`.
        """
        if len(forms) > MOST_AT_ONCE:
            raise RuleError("rules", f"{len(forms)} at once; at most {MOST_AT_ONCE}: send them in parts")
        with self.control.change(who=who, why=why) as change:
            made = []
            for number, form in enumerate(forms):
                try:
                    made.append(self._row(form, who, change.now))
                except RuleError as error:
                    raise RuleError(f"rules[{number}].{error.field}" if len(forms) > 1 else error.field, error.says) from None
            if supersede:
                self._give_way(change, supersede, made[0])
            _check(change, made)
            return [change.insert(price_rules, row) for row in made]

    def change(self, rule_id: str, fields: Mapping[str, Any], *, who: str, why: str | None = None) -> Row:
        """A rule with other fields in place of this one, from the beginning: for what was entered wrongly.

        Raises as `make` does.
        """
        with self.control.change(who=who, why=why) as change:
            was = self._standing(change, rule_id)
            form = {**form_of(was), **fields}
            row = self._row(form, who, change.now)
            row["supersedes"] = rule_id
            change.update(price_rules, rule_id, {"superseded_at": change.now})
            _check(change, [row])
            return change.insert(price_rules, row)

    def end(self, rule_id: str, at: datetime, *, who: str, why: str | None = None) -> Row:
        """A rule that ends at a moment in place of this one. Raises as `make` does."""
        return self.change(rule_id, {"valid_to": at.isoformat()}, who=who, why=why)

    def _row(self, form: Mapping[str, Any], who: str, now: datetime) -> Row:
        form = {key: value for key, value in form.items() if value is not None}
        monthly = form.get("monthly_usd")
        if monthly in (None, ""):
            rule_of(form, "new")
        else:
            monthly_of(form)
        row: Row = {name: str(form.get(name) or "") for name in _TEXTS}
        row |= {
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

    def _standing(self, change: Change, rule_id: str) -> Row:
        row = change.get(price_rules, rule_id)
        if row["superseded_at"] is not None:
            raise Clash(
                f"price rule {rule_id} was superseded on {row['superseded_at']:%Y-%m-%d}: change the one that is in force"
            )
        return row


def rule_of_row(row: Mapping[str, Any]) -> Rule:
    """The rule that a row stands for."""
    return rule_of(form_of(row), row["id"])


def form_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The form that would make a row again; what is not set is left out."""
    form = {name: row[name] for name in FIELDS if row[name] not in (None, "", {}, "*")}
    for name in ("valid_from", "valid_to"):
        if name in form:
            form[name] = form[name].astimezone(UTC).isoformat()
    for name in ("multiplier", "monthly_usd"):
        if name in form:
            form[name] = format(form[name], "f")
    return form


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
        raise RuleError("monthly_usd" if error.field.startswith("rates") else error.field, error.says) from None


def _check(change: Change, made: Sequence[Row]) -> None:
    """Refuse a rule that would cover the same calls as another of the same rank."""
    found = change.connection.execute(sa.select(price_rules).where(price_rules.c.superseded_at.is_(None))).mappings()
    by_place: dict[tuple[object, ...], list[Rule]] = {}
    for row in found:
        if row["monthly_usd"] is None:
            rule = rule_of_row(dict(row))
            by_place.setdefault(_place(rule), []).append(rule)
    new: dict[str, str] = {}
    for number, mine in enumerate(made):
        new[mine["id"]] = "the new rule" if len(made) == 1 else f"rules[{number}]"
        if mine["monthly_usd"] is not None:
            continue
        rule = rule_of_row({**mine, **_read(mine)})
        for other in by_place.get(_place(rule), []):
            if rule.clashes(other):
                standing = other.rule_id not in new
                raise Clash(
                    f"{_named(rule, new)} overlaps {_named(other, new)}, of the same rank: "
                    + (f"supersede {other.rule_id}, end it first, or " if standing else "")
                    + "give one of them a priority"
                )
        by_place.setdefault(_place(rule), []).append(rule)


def _place(rule: Rule) -> tuple[object, ...]:
    return rule.rank, rule.belongs_to, rule.provider, rule.model.lower(), rule.tier, rule.region


def _named(rule: Rule, new: Mapping[str, str]) -> str:
    whom = "" if rule.scope == "all" else f" for {rule.scope} {rule.belongs_to}"
    return f"{new.get(rule.rule_id) or f'rule {rule.rule_id}'} ({rule.layer}, {rule.provider}/{rule.model}{whom})"


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    """Decimals as the database gives them back."""
    return {name: None if row[name] is None else Decimal(row[name]) for name in ("multiplier", "monthly_usd")}


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _int(value: Any) -> int | None:
    return None if value in (None, "") else int(value)
