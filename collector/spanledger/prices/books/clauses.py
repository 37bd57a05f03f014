"""Finding a model of genai-prices by name in microseconds, and saying how the name was recognised.

The library asks every model's clause in turn (230 µs for a name that OpenRouter does not have); nearly all clauses
are lists of equal names, which a dictionary answers. The first model that matches wins, as in the library.
"""

import re
from collections.abc import Sequence

from genai_prices import types as genai

from spanledger.prices.books.found import Match
from spanledger.prices.books.likeness import unknown_words


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
        """The model that `name` means, how it was recognised, and its words that nothing explains. None for a name that reads
        like a model and is another version of it, whatever the library would make of it."""
        lowered = name.lower()
        dashed = genai._normalize_compact_dated_ref(lowered)
        return self._first(lowered) or (self._first(dashed) if dashed != lowered else None)

    def _first(self, name: str) -> tuple[genai.ModelInfo, Match, str] | None:
        equal = self._equal.get(name, len(self.models))
        for index in self._other:
            if index >= equal:
                break
            model = self.models[index]
            if model.is_match(name) and (found := how(model, name)):
                return model, *found
        return (self.models[equal], *_spelled(self.models[equal], name)) if equal < len(self.models) else None


def how(model: genai.ModelInfo, name: str) -> tuple[Match, str] | None:
    """Which kind of clause recognised a name that the model matches, and its words that nothing explains; None when they make
    it another version."""
    if name == model.id.lower():
        return "exact", ""
    for _, match, start, end in sorted(_matching(model.match, name), key=lambda found: (found[0], found[2] - found[3])):
        words = unknown_words(name, start, end, model.id.lower())
        if words is not None:
            return match, words
    return None


def _spelled(model: genai.ModelInfo, name: str) -> tuple[Match, str]:
    return ("exact" if name == model.id.lower() else "alias"), ""


def _flat(clause: object) -> list[object]:
    return [leaf for part in clause.or_ for leaf in _flat(part)] if isinstance(clause, genai.ClauseOr) else [clause]


def _matching(clause: object, name: str) -> list[tuple[int, Match, int, int]]:
    """The clauses that match, the most telling first in number: kind, and which part of the name each spells out."""
    match clause:
        case genai.ClauseEquals(equals=text) if text.lower() == name:
            return [(0, "alias", 0, len(name))]
        case genai.ClauseStartsWith(starts_with=text) if name.startswith(text.lower()):
            return [(1, "prefix", 0, len(text))]
        case genai.ClauseEndsWith(ends_with=text) if name.endswith(text.lower()):
            return [(2, "suffix", len(name) - len(text), len(name))]
        case genai.ClauseContains(contains=text) if text.lower() in name:
            start = name.index(text.lower())
            return [(4, "contains", start, start + len(text))]
        case genai.ClauseRegex(regex=regex) if found := re.search(regex, name):
            # What a pattern leaves open at its end may be any word that begins so.
            end = len(name) if regex.endswith("$") else _word_at(name, found.end())
            return [(3, "pattern", found.start(), end)]
        case genai.ClauseOr(or_=parts):
            return [found for part in parts for found in _matching(part, name)]
        case genai.ClauseAnd(and_=parts) if clause.is_match(name):
            return [found for part in parts for found in _matching(part, name)]
        case _:
            return []


def _word_at(name: str, end: int) -> int:
    """Where the word begins that `end` is in or behind."""
    while end > 0 and name[end - 1].isalnum():
        end -= 1
    return end
