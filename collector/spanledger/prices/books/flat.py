"""A book of current prices without history: what LiteLLM's and models.dev's files are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from spanledger.prices.books.found import Found
from spanledger.prices.cell import Cell, unpriced_everywhere
from spanledger.prices.names import of_size
from spanledger.prices.tiers import STANDARD

#: Why a model that is priced by what it makes has no price for this one.
OF_NO_SIZE = "no rate for this quality and size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One model: its cells by tier, its limits, and what it can do."""

    tiers: Mapping[str, tuple[Cell, ...]]
    context_window: int | None = None
    max_output_tokens: int | None = None
    #: tools, vision, reasoning, json, audio, pdf, search …; None where the file does not say.
    abilities: frozenset[str] | None = None
    #: Why it has no price, where it has none.
    unpriced: str = "the book lists this model without a price"


@dataclass(frozen=True)
class Flat:
    """Listings by provider (the book's id) and model (lowered)."""

    name: str
    version: str
    sha256: str
    models: Mapping[tuple[str, str], Listing] = field(repr=False)

    def find(self, provider: str, model: str) -> Found | None:
        key = (provider, model.lower())
        return Found(provider=provider, model=key[1], match="exact") if key in self.models else None

    def cells(self, found: Found, tier: str) -> tuple[Cell, ...]:
        listing = self.models[found.provider, found.model]
        if tier in listing.tiers:
            return listing.tiers[tier]
        return unpriced_everywhere(f"no rate for tier {tier}" if listing.tiers else listing.unpriced)

    def listed(self) -> list[tuple[str, str]]:
        """Each model by the shortest of its names: with `azure/gpt-4o` and `gpt-4o` telemetry means the same one."""
        shortest: dict[tuple[str, int], tuple[str, str]] = {}
        for (provider, model), listing in self.models.items():
            known = shortest.setdefault((provider, id(listing)), (provider, model))
            if len(model) < len(known[1]):
                shortest[provider, id(listing)] = (provider, model)
        return list(shortest.values())

    def says(self, provider: str, model: str) -> object:
        return self.models[provider, model].tiers

    def context_window(self, provider: str, model: str) -> int | None:
        listing = self._listing(provider, model)
        return listing.context_window if listing else None

    def max_output_tokens(self, provider: str, model: str) -> int | None:
        listing = self._listing(provider, model)
        return listing.max_output_tokens if listing else None

    def abilities(self, provider: str, model: str) -> frozenset[str] | None:
        """What a model can do; None when the file does not say."""
        listing = self._listing(provider, model)
        return listing.abilities if listing else None

    @cached_property
    def sizes(self) -> bool:
        """Whether it prices anything by the size of what is made."""
        return any(of_size(model) for _, model in self.models)

    @cached_property
    def tiers(self) -> frozenset[str]:
        return frozenset(tier for listing in self.models.values() for tier in listing.tiers) | {STANDARD}

    def _listing(self, provider: str, model: str) -> Listing | None:
        return self.models.get((provider, model.lower()))
