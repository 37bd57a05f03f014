"""Where to look for the rules of a name, so that ten thousand rules cost a name nothing."""

from collections.abc import Iterable, Sequence

from spanledger.prices.names import of_size, provider_id
from spanledger.prices.rule import ANY, Belongs, Rule


class RulesAbout:
    """The places of rules in their order, by whom they are for, and then by model where they are for one and else by provider."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._places: dict[Belongs, dict[tuple[str, str], list[int]]] = {}
        for place, rule in enumerate(rules):
            model = rule.model.lower()
            about = [("provider", provider_id(rule.provider))] if model.endswith(ANY) else [("model", model)]
            # A model with a price for one size has none for the others, so that such a rule concerns all of them.
            about += [("model", plain)] if (plain := of_size(model)) else []
            found = self._places.setdefault((rule.scope, rule.belongs_to), {})
            for what in about:
                found.setdefault(what, []).append(place)

    def places(self, provider: str, names: Iterable[str], belongs: Iterable[Belongs]) -> list[int]:
        """The places of the rules that may cover a name, in their order; `provider` is the book's id, `names` lowered."""
        about = [("provider", ANY), ("provider", provider), *(("model", name) for name in names)]
        found: set[int] = set()
        for whom in (("all", ""), *belongs):
            if places := self._places.get(whom):
                found.update(place for what in about for place in places.get(what, ()))
        return sorted(found)
