"""Finding a model of genai-prices by name in microseconds, and saying how the name was recognised.

The library asks every model's clause in turn (230 µs for a name that OpenRouter does not have); nearly all clauses
are lists of equal names, which a dictionary answers. The first model that matches wins, as in the library.
"""

from collections.abc import Sequence

from genai_prices import types as genai

from spanledger.prices.book import Match


class Clauses:
    """The models of one provider, by name."""

    def __init__(self, models: Sequence[genai.ModelInfo]) -> None:
        self.models = models
        self._equal: dict[str, int] = {}
        self._other: list[int] = []
        for index, model in enumerate(models):
            flat = list(_flat(model.match))
            for clause in flat:
                if isinstance(clause, genai.ClauseEquals):
                    self._equal.setdefault(clause.equals.lower(), index)
            if any(not isinstance(clause, genai.ClauseEquals) for clause in flat):
                self._other.append(index)

    def find(self, name: str) -> tuple[genai.ModelInfo, Match, str] | None:
        """The model that `name` means, how it was recognised, and what of the name no clause spells out."""
        lowered = name.lower()
        found = self._first(lowered)
        if found is None:
            dashed = genai._normalize_compact_dated_ref(lowered)
            if dashed == lowered:
                return None
            lowered, found = dashed, self._first(dashed)
            if found is None:
                return None
        match, rest = how(found, lowered)
        return found, match, rest

    def _first(self, name: str) -> genai.ModelInfo | None:
        equal = self._equal.get(name, len(self.models))
        for index in self._other:
            if index >= equal:
                break
            if self.models[index].is_match(name):
                return self.models[index]
        return self.models[equal] if equal < len(self.models) else None


def how(model: genai.ModelInfo, name: str) -> tuple[Match, str]:
    """Which kind of clause recognised a name that the model matches, and how much of it is left over."""
    if name == model.id.lower():
        return "exact", ""
    _, match, rest = min(_matching(model.match, name), default=(3, "pattern", ""))
    return match, rest


def _flat(clause: object) -> list[object]:
    return [leaf for part in clause.or_ for leaf in _flat(part)] if isinstance(clause, genai.ClauseOr) else [clause]


def _matching(clause: object, name: str) -> list[tuple[int, Match, str]]:
    match clause:
        case genai.ClauseEquals(equals=text) if text.lower() == name:
            return [(0, "alias", "")]
        case genai.ClauseStartsWith(starts_with=text) if name.startswith(text.lower()):
            return [(1, "prefix", name[len(text) :])]
        case genai.ClauseEndsWith(ends_with=text) if name.endswith(text.lower()):
            return [(2, "suffix", name[: -len(text)])]
        case genai.ClauseContains(contains=text) if text.lower() in name:
            return [(4, "contains", name.replace(text.lower(), "", 1))]
        case genai.ClauseRegex() if clause.is_match(name):
            return [(3, "pattern", "")]
        case genai.ClauseOr(or_=parts):
            return [found for part in parts for found in _matching(part, name)]
        case genai.ClauseAnd(and_=parts) if clause.is_match(name):
            return [found for part in parts for found in _matching(part, name)]
        case _:
            return []
