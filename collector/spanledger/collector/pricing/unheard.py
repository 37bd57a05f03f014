"""A multiplier on what nobody has a price for: most often a name that is spelled otherwise than calls spell it."""

from collections.abc import Mapping
from typing import Any

from spanledger.collector.pricing.rules import rule_of_row
from spanledger.prices.layers import Layers
from spanledger.prices.names import provider_id
from spanledger.prices.rule import ANY, Rule


def unheard(layers: Layers, row: Mapping[str, Any]) -> str | None:
    """What to say of a new rule that multiplies no price of a book or a rule; None where there is nothing to say."""
    if row["multiplier"] is None:
        return None
    rule = rule_of_row(row)
    if _in_books(layers, rule) or any(_may_meet(rule, other) for other in layers.rules if other.rates or other.same_as):
        return None
    return f"no book and no rule has a price of {rule.provider}/{rule.model}: there is nothing to multiply as long as that is so"


def _in_books(layers: Layers, rule: Rule) -> bool:
    mine = provider_id(rule.provider)
    if layers.knows(rule.provider, rule.model.removesuffix(ANY)):
        return True
    listed = (one for book in layers.books for one in book.listed() if rule.calls_it(one[1].lower()))
    return any(rule.provider == ANY or provider == mine or layers.knows(mine, model) for provider, model in listed)


def _may_meet(rule: Rule, other: Rule) -> bool:
    providers = {ANY, provider_id(rule.provider)} if rule.provider != ANY else {ANY, provider_id(other.provider)}
    names = rule.calls_it(other.model.lower()) or other.calls_it(rule.model.lower())
    return names and provider_id(other.provider) in providers
