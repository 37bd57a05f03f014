"""models.dev's `api.json` as a book."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

from spanledger.prices.books.flat import Flat, Listing
from spanledger.prices.books.litellm_file import any_price, exactly, whole
from spanledger.prices.cell import UNBOUNDED, Box, Cell
from spanledger.prices.meters import MILLION
from spanledger.prices.names import provider_id
from spanledger.prices.tiers import STANDARD

#: models.dev's field, in USD per million tokens → counter.
_FIELDS = {
    "input": "input_tokens", "output": "output_tokens", "cache_read": "cache_read_tokens", "cache_write": "cache_write_tokens",
    "reasoning": "reasoning_tokens", "input_audio": "input_audio_tokens", "output_audio": "output_audio_tokens",
}  # fmt: skip


def models_dev_book(file: Mapping[str, Any], version: str, sha256: str) -> Flat:
    """The book in a parsed file."""
    models: dict[tuple[str, str], Listing] = {}
    for provider, entry in file.items():
        for name, model in (entry.get("models") or {}).items():
            cost = model.get("cost") or {}
            free = name.lower().endswith(":free")
            cells = tuple(_cells(cost)) if any_price(_rates(cost)) or (free and cost) else ()
            limit = model.get("limit") or {}
            models[provider_id(provider), name.lower()] = Listing(
                tiers={STANDARD: cells} if cells else {},
                context_window=whole(limit.get("context")),
                max_output_tokens=whole(limit.get("output")),
                abilities=frozenset(_abilities(model)),
            )
    return Flat("models.dev", version, sha256, models)


def _rates(cost: Mapping[str, Any]) -> dict[str, Fraction]:
    return {
        counter: exactly(cost[key]) / MILLION
        for key, counter in _FIELDS.items()
        if isinstance(cost.get(key), int | float) and not isinstance(cost[key], bool)
    }


def _cells(cost: Mapping[str, Any]) -> Iterable[Cell]:
    """Above a size all tokens are charged at its rates; what it does not say stays as it was."""
    rates = _rates(cost)
    free = not any(rates.values())
    sizes = {-1: rates} | {size: {**rates, **_rates(long)} for size, long in _tiers(cost)}
    for over, upto in pairwise([*sorted(sizes), UNBOUNDED]):
        yield Cell(box=Box(over=over, upto=upto), free=free).at_rates(sizes[over])


def _tiers(cost: Mapping[str, Any]) -> Iterable[tuple[int, Mapping[str, Any]]]:
    for tier in cost.get("tiers") or ():
        of = tier.get("tier") or {}
        if of.get("type") == "context" and (size := whole(of.get("size"))) is not None:
            yield size, tier
    if not cost.get("tiers") and isinstance(cost.get("context_over_200k"), Mapping):
        yield 200_000, cost["context_over_200k"]


def _abilities(model: Mapping[str, Any]) -> Iterable[str]:
    if model.get("tool_call"):
        yield "tools"
    if model.get("reasoning"):
        yield "reasoning"
    if model.get("structured_output"):
        yield "json"
    heard = (model.get("modalities") or {}).get("input") or ()
    for modality, word in (("image", "vision"), ("audio", "audio"), ("pdf", "pdf"), ("video", "video")):
        if modality in heard:
            yield word
