"""What is configured about prices, besides the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from spanledger.prices.names import provider_id

Profile = Literal["production", "development"]
Precedence = Literal["computed", "reported"]

#: A router's own charge is the truth. What is configured goes over it provider by provider.
PRECEDENCE: Mapping[str, Precedence] = MappingProxyType({"openrouter": "reported"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """In the profile `development` everything costs nothing, and list costs stay what they are."""

    profile: Profile = "production"
    #: Provider (or * for all others) → whose word on the cost counts, over `PRECEDENCE`. Given as telemetry spells providers,
    #: kept by the book's ids.
    precedence: Mapping[str, Precedence] = field(default_factory=dict)
    #: Whether a reported cost stands in for a price that nobody has.
    reported_when_unpriced: bool = True

    def __post_init__(self) -> None:
        if self.profile not in ("production", "development"):
            raise ValueError(f"prices.profile: {self.profile!r} is neither production nor development")
        for provider, word in self.precedence.items():
            if word not in ("computed", "reported"):
                raise ValueError(f"prices.precedence.{provider}: {word!r} is neither computed nor reported")
        given = {provider_id(provider): word for provider, word in self.precedence.items()}
        object.__setattr__(self, "precedence", {**PRECEDENCE, **given})

    def trusts(self, provider: str) -> bool:
        """Whether a provider, as telemetry spells it, is taken at its word on what a call cost."""
        return self.precedence.get(provider_id(provider), self.precedence.get("*")) == "reported"
