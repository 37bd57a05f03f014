"""A rule: what a contract, a site or a default says about prices, over what the books say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from spanledger.prices.cell import EVERYWHERE, Box, Cell
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
    #: Applies only where the ranks below have no price.
    only_unpriced: bool = False
    #: Reads the ranks below as if the call had been served by this tier.
    from_tier: str = ""

    def __post_init__(self) -> None:
        if sum((bool(self.rates), self.multiplier is not None, bool(self.same_as))) != 1:
            raise ValueError(f"rule {self.rule_id}: give exactly one of rates, multiplier and same_as")

    @property
    def rank(self) -> tuple[int, ...]:
        """Rules apply in ascending order of rank: a narrower scope, then a narrower name, then the given priority."""
        return (
            LAYERS.index(self.layer),
            SCOPES.index(self.scope),
            self.priority,
            self.provider != ANY,
            0 if self.model == ANY else len(self.model) * 2 + (not self.model.endswith(ANY)),
            self.tier not in ("", ANY),
            self.region != ANY,
        )

    def covers(self, provider: str, models: Iterable[str], tier: str, region: str | None, belongs: Iterable[Belongs]) -> bool:
        """Whether it is about such a call; `provider` is the book's id, `models` all names of the model, lowered."""
        if self.scope != "all" and (self.scope, self.belongs_to) not in set(belongs):
            return False
        if self.provider != ANY and provider_id(self.provider) != provider:
            return False
        wanted_tier = self.tier or (STANDARD if self.rates else ANY)
        if wanted_tier not in (ANY, tier) or self.region not in (ANY, region):
            return False
        pattern = self.model.lower()
        return any(name.startswith(pattern[:-1]) if pattern.endswith(ANY) else name == pattern for name in models)

    def clashes(self, other: "Rule") -> bool:
        """Whether both could apply to the same call and neither comes before the other."""
        return (
            self.rank == other.rank
            and self.belongs_to == other.belongs_to
            and provider_id(self.provider) == provider_id(other.provider)
            and self.model.lower() == other.model.lower()
            and self.tier == other.tier
            and self.region == other.region
            and self.box.inside(other.box) is not None
        )

    def over(self, cell: Cell) -> Cell:
        """`cell`, which lies wholly inside this rule's box, as this rule leaves it."""
        if self.only_unpriced and cell.unpriced is None:
            return cell
        noted = replace(
            cell, rules=(*cell.rules, self.rule_id), flags=(*cell.flags, *self.flags), estimated=cell.estimated or self.estimated
        )
        if self.rates:
            below = {} if cell.unpriced is not None else cell.own_rates()
            flags = self.flags if cell.unpriced is not None else noted.flags
            rates = {**below, **self.rates}
            return replace(noted, flags=flags, free=not any(rates.values())).at_rates(rates)
        if self.multiplier is None or cell.unpriced is not None:
            return cell
        rates = {counter: rate * self.multiplier for counter, rate in cell.rates.items()}
        return replace(noted, rates=rates, free=cell.free or not self.multiplier)


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
