"""What a name was found to be."""

from dataclasses import dataclass
from typing import Literal

#: How a name was recognised: as the book spells it; by another name that the book lists; because it begins, ends or
#: reads like one; by a rule of the user; through another provider's price; or not at all, and a default stands in.
Match = Literal["exact", "alias", "prefix", "suffix", "contains", "pattern", "rule", "fallback", "default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model in a book, or one that a rule names, and how its name was recognised."""

    provider: str
    model: str
    match: Match
    flags: tuple[str, ...] = ()
    #: Words of the name that neither the book nor custom explains: `cyber` in `gemini-3.8-flash-cyber`.
    rest: str = ""

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"
