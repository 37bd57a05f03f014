"""What is configured about prices, besides the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Profile = Literal["production", "development"]
Precedence = Literal["computed", "reported"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """In the profile `development` everything costs nothing, and list costs stay what they are."""

    profile: Profile = "production"
    #: Provider (or * for all others) → whose word on the cost counts. A router's own charge is the truth.
    precedence: Mapping[str, Precedence] = field(default_factory=lambda: {"openrouter": "reported"})
    #: Whether a reported cost stands in for a price that nobody has.
    reported_when_unpriced: bool = True

    def __post_init__(self) -> None:
        if self.profile not in ("production", "development"):
            raise ValueError(f"prices.profile: {self.profile!r} is neither production nor development")
        for provider, word in self.precedence.items():
            if word not in ("computed", "reported"):
                raise ValueError(f"prices.precedence.{provider}: {word!r} is neither computed nor reported")
