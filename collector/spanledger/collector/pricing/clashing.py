"""Which rules of the same rank could cover the same calls: of those the one would win by chance."""

from collections.abc import Iterable, Mapping

from spanledger.prices.names import provider_id
from spanledger.prices.rule import Rule


class Places:
    """Rules by what two that clash have in common, so that a new one is held against few of ten thousand."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._places: dict[object, dict[str, dict[str, list[Rule]]]] = {}
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        kind, whom = _whom(rule)
        self._places.setdefault(_place(rule), {}).setdefault(kind, {}).setdefault(whom, []).append(rule)

    def clashing(self, rule: Rule) -> Rule | None:
        """One that a rule clashes with."""
        mine, whom = _whom(rule)
        of_place = self._places.get(_place(rule), {})
        others = [other for kind, found in of_place.items() if kind != mine for rules in found.values() for other in rules]
        return next((other for other in (*of_place.get(mine, {}).get(whom, ()), *others) if rule.clashes(other)), None)


def _place(rule: Rule) -> tuple[object, ...]:
    return rule.rank, provider_id(rule.provider), rule.model.lower(), rule.region


def _whom(rule: Rule) -> tuple[str, str]:
    """Whom a rule is for, with the name of the tag in front where it is one: a call has one value of each."""
    return (rule.belongs_to.partition("=")[0] if rule.scope == "tag" else "", rule.belongs_to)


def named(rule: Rule, new: Mapping[str, str]) -> str:
    """A rule in words; `new` has what to call those whose ids nobody knows yet."""
    whom = "" if rule.scope == "all" else f" for {rule.scope} {rule.belongs_to}"
    return f"{new.get(rule.rule_id) or f'rule {rule.rule_id}'} ({rule.layer}, {rule.provider}/{rule.model}{whom})"
