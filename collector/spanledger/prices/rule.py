"""A rule: what a contract, a site or a default says about prices, over what the books say."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from spanledger.prices.cell import EVERYWHERE, Box, Cell, times
from spanledger.prices.names import provider_id
from spanledger.prices.tiers import STANDARD

#: From the lowest to the highest: a default prices what no book knows, a site rule corrects the list price for
#: everybody, a contract is what one pays instead.
Layer = Literal["default", "site", "contract"]
LAYERS: tuple[Layer, ...] = ("default", "site", "contract")

#: Whom a rule is for, from the widest to the narrowest.
ScopeKind = Literal["all", "tag", "tenant", "project", "key"]
SCOPES: tuple[ScopeKind, ...] = ("all", "tag", "tenant", "project", "key")

#: One thing that a call belongs to: ("tenant", "acme"), ("tag", "team=research").
Belongs = tuple[str, str]

ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Exactly one of `rates`, `multiplier` and `same_as` says what the rule does.

    `rates` (USD for one of each counter) replace those of the ranks below, meter by meter; `multiplier` multiplies
    whatever the ranks below say, so that list-price updates flow through; `same_as` prices a model as another one.
    """

    rule_id: str
    layer: Layer = "contract"
    scope: ScopeKind = "all"
    belongs_to: str = ""
    provider: str = ANY
    model: str = ANY  # a name, a name that ends in *, or *
    tier: str = ""  # "": standard for rates, any for the others
    region: str = ANY
    box: Box = EVERYWHERE
    rates: Mapping[str, Fraction] = field(default_factory=dict)
    multiplier: Fraction | None = None
    same_as: str = ""
    priority: int = 0
    estimated: bool = False
    flags: tuple[str, ...] = ()

    #: Rules apply in ascending order of rank: a narrower scope, then the given priority, then a narrower name.
    rank: tuple[int, ...] = field(init=False, repr=False, compare=False)
    #: Of all that it says.
    digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if sum((bool(self.rates), self.multiplier is not None, bool(self.same_as))) != 1:
            raise ValueError(f"rule {self.rule_id}: give exactly one of rates, multiplier and same_as")
        object.__setattr__(self, "rank", self._rank())
        object.__setattr__(self, "digest", hashlib.sha256(repr(self).encode()).digest())

    def _rank(self) -> tuple[int, ...]:
        return (
            LAYERS.index(self.layer),
            SCOPES.index(self.scope),
            self.priority,
            self.provider != ANY,
            0 if self.model == ANY else len(self.model) * 2 + (not self.model.endswith(ANY)),
            self.tier not in ("", ANY),
            self.region != ANY,
        )

    @property
    def tiers(self) -> str:
        """The tier that it is for, or `*`: rates are of one tier, all else is of any unless it says which."""
        return self.tier or (STANDARD if self.rates else ANY)

    def calls_it(self, model: str) -> bool:
        """Whether a model, by one of its names, lowered, is what it is about."""
        pattern = self.model.lower()
        return model.startswith(pattern[:-1]) if pattern.endswith(ANY) else model == pattern

    def covers(
        self, provider: str, models: Iterable[str], tier: str, regions: Collection[str | None], belongs: Collection[Belongs]
    ) -> bool:
        """Whether it is about such a call; `provider` is the book's id, `models` all names of the model, lowered, `regions` all
        that its region is called."""
        if self.scope != "all" and (self.scope, self.belongs_to) not in belongs:
            return False
        if self.provider != ANY and provider_id(self.provider) != provider:
            return False
        if self.tiers not in (ANY, tier) or (self.region != ANY and self.region not in regions):
            return False
        return any(map(self.calls_it, models))

    def clashes(self, other: "Rule") -> bool:
        """Whether one call could be covered by both and neither comes before the other. A call has one tenant, one project, one
        key and one value of each tag, but any number of tags."""
        return (
            self.rank == other.rank
            and self._meets(other)
            and provider_id(self.provider) == provider_id(other.provider)
            and self.model.lower() == other.model.lower()
            and (self.tiers == other.tiers or ANY in (self.tiers, other.tiers))
            and self.region == other.region
            and self.box.inside(other.box) is not None
        )

    def _meets(self, other: "Rule") -> bool:
        """Whether a call can belong to whom both are for, when both are of one scope."""
        tags = self.scope == "tag" and self.belongs_to.partition("=")[0] != other.belongs_to.partition("=")[0]
        return tags or self.belongs_to == other.belongs_to

    def over(self, cell: Cell) -> Cell:
        """`cell`, which lies wholly inside this rule's box, as this rule leaves it."""
        noted = replace(
            cell, rules=(*cell.rules, self.rule_id), flags=(*cell.flags, *self.flags), estimated=cell.estimated or self.estimated
        )
        if self.rates:
            below = {} if cell.unpriced is not None else cell.own_rates()
            flags = self.flags if cell.unpriced is not None else noted.flags
            rates = {**below, **self.rates}
            # An estimate stays one as long as any of its tokens have a rate that no rule gives.
            guessed = cell.estimated and any(counter.endswith("_tokens") for counter in below.keys() - self.rates.keys())
            # Who gives a rate for it, or for the call as a whole, knows what it comes to.
            charged = frozenset() if "requests" in self.rates else noted.charged - self.rates.keys()
            noted = replace(noted, estimated=self.estimated or guessed, charged=charged, without_default=None)
            noted = replace(noted, free=not charged and not any(rates.values()))
            return replace(noted, flags=flags).at_rates(rates)
        if self.multiplier is None or cell.unpriced is not None:
            return cell
        if not self.multiplier:
            noted = replace(noted, charged=frozenset(), free=True)
        return replace(noted, rates=times(cell.rates, self.multiplier))


def apply(rule: Rule, cells: Iterable[Cell], same_as: Iterable[Cell] = ()) -> tuple[Cell, ...]:
    """`cells` with a rule over them; `same_as` are the cells of the model that the rule names, if it names one."""
    changed: list[Cell] = []
    for cell in cells:
        common = cell.box.inside(rule.box)
        if common is None:
            changed.append(cell)
            continue
        changed += [replace(cell, box=rest) for rest in cell.box.outside(rule.box)]
        if not rule.same_as:
            changed.append(rule.over(replace(cell, box=common)))
            continue
        for other in same_as:
            box = other.box.inside(common)
            if box is not None:
                changed.append(replace(other, box=box, rules=(*other.rules, rule.rule_id), flags=(*other.flags, *rule.flags)))
    return tuple(changed)
