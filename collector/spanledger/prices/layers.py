"""First hit wins: contract, site, the books in their order, a default, and then nothing: unpriced."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from spanledger.prices.book import Book, Found
from spanledger.prices.cell import Cell, overlay, unpriced_everywhere
from spanledger.prices.flat import OF_NO_SIZE, Flat
from spanledger.prices.names import of_size, provider_id, spellings
from spanledger.prices.rule import ANY, Belongs, Rule, apply
from spanledger.prices.tiers import BATCH, STANDARD

#: Providers whose own price lists give half price for batches; the books say so only from October 2026 on.
#: A call that is priced by this rule is `estimated` and flagged.
HALF_PRICE_BATCHES = frozenset({"openai", "anthropic", "azure", "aws", "google", "mistral", "groq"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What of a call decides its rates, besides time and size. Spelled as telemetry has it; the tier is `tier_of`'s."""

    provider: str | None
    model: str | None
    tier: str = STANDARD
    region: str | None = None
    #: Quality and size of what was made, as `hd/1024x1024`.
    variant: str = ""
    belongs: tuple[Belongs, ...] = ()
    #: At list price: without the contracts.
    listed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A name's cells, and what the name was found to be; `found` is None when no book and no rule knows it."""

    found: Found | None
    cells: tuple[Cell, ...]
    #: Ids of the rules that cover it, lowest rank first.
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """What the books say of a name, and all names that a rule may call it by."""

    found: Found | None
    cells: tuple[Cell, ...]
    names: frozenset[str]


#: Names of which is remembered what the books say; strangers' names push each other out.
MOST_LISTED = 30_000


class Layers:
    """Books and rules, immutable: a change of either makes another one."""

    def __init__(self, books: Sequence[Book], rules: Sequence[Rule] = (), before: "Layers | None" = None) -> None:
        """`before` are the layers that these take the place of: what its books said is known already."""
        self.books = tuple(books)
        self._listed: dict[tuple[str, str, str, str], _Listed] = before._listed if before and before.books == self.books else {}
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.rank, rule.rule_id)))
        #: What a row must show of itself for the rules to find it.
        self.regions = frozenset(rule.region for rule in self.rules) - {ANY}
        #: Models that rules price by the size of what they make.
        self._sized = frozenset(of_size(rule.model) for rule in self.rules) - {None}
        #: Whether quality and size of what was made matter anywhere.
        self.sizes = bool(self._sized) or any(isinstance(book, Flat) and book.sizes for book in self.books)
        self.belongings = frozenset((rule.scope, rule.belongs_to) for rule in self.rules if rule.scope != "all")
        #: Where to look for the rules of a name, so that ten thousand rules cost a name nothing: their places in `rules` by
        #: whom they are for, and then by model where they are for one and else by provider.
        self._places: dict[Belongs, dict[tuple[str, str], list[int]]] = {}
        for place, rule in enumerate(self.rules):
            about = ("provider", provider_id(rule.provider)) if rule.model.endswith(ANY) else ("model", rule.model.lower())
            self._places.setdefault((rule.scope, rule.belongs_to), {}).setdefault(about, []).append(place)

    def priced(self, name: Name) -> Priced:
        """The cells that price calls of a name."""
        if not name.model or not name.model.strip():
            return Priced(found=None, cells=unpriced_everywhere("no model named"))
        if not name.provider or not name.provider.strip():
            return Priced(found=None, cells=unpriced_everywhere("no provider named"))
        return self._priced(provider_id(name.provider), name.model, name)

    def _priced(self, provider: str, model: str, name: Name) -> Priced:
        listed = self._in_books(provider, model, name.tier, name.variant)
        found, cells, names = listed.found, listed.cells, listed.names
        applied = []
        for rule in self._perhaps(provider, names, name.belongs):
            if name.listed and rule.layer == "contract":
                continue
            if not rule.covers(provider, names, name.tier, name.region, name.belongs):
                continue
            applied.append(rule.rule_id)
            if rule.layer == "default":
                default = Cell(box=rule.box, estimated=True, rules=(rule.rule_id,), flags=("default_price",)).at_rates(rule.rates)
                cells = overlay(_under(cells, default), cells)
                found = found or Found(provider=provider, model=rule.model, match="default")
                continue
            if rule.same_as:
                other_provider, _, other = rule.same_as.partition("/")
                same = self._in_books(provider_id(other_provider), other, name.tier, name.variant)
                cells = apply(rule, cells, same.cells)
                if same.found is not None:
                    found = Found(provider=same.found.provider, model=same.found.model, match="rule")
                continue
            cells = apply(rule, cells)
            if rule.rates:
                found = found or Found(provider=provider, model=rule.model, match="rule")
        if found is None and not self._sized.isdisjoint(names):
            cells = unpriced_everywhere(OF_NO_SIZE)
        return Priced(found=found, cells=cells, rules=tuple(applied))

    def _perhaps(self, provider: str, names: Iterable[str], belongs: Iterable[Belongs]) -> Iterator[Rule]:
        """The rules that may cover a name, in their order."""
        about = [("provider", ANY), ("provider", provider), *(("model", name) for name in names)]
        found: set[int] = set()
        for whom in (("all", ""), *belongs):
            places = self._places.get(whom, {})
            found.update(place for what in about for place in places.get(what, ()))
        return (self.rules[place] for place in sorted(found))

    def _in_books(self, provider: str, model: str, tier: str, variant: str) -> "_Listed":
        known = self._listed.get((provider, model, tier, variant))
        if known is None:
            if len(self._listed) >= MOST_LISTED:
                self._listed.clear()
            found, cells = self._looked_up(provider, model, tier, variant)
            names = frozenset(spelled.lower() for spelled, _ in spellings(provider, model, variant))
            known = _Listed(found=found, cells=cells, names=names | {found.model.lower()} if found else names)
            self._listed[provider, model, tier, variant] = known
        return known

    def _looked_up(self, provider: str, model: str, tier: str, variant: str) -> tuple[Found | None, tuple[Cell, ...]]:
        """The first book that knows the model decides what it is; where it has no price, the next one's stands."""
        first: Found | None = None
        cells: tuple[Cell, ...] = unpriced_everywhere("unknown model")
        for book in self.books:
            for spelled, changed in spellings(provider, model, variant):
                found = book.find(provider, spelled)
                if found is None:
                    continue
                judged = _judged(found, model, changed)
                theirs = _of_tier(book, found, tier, provider)
                if judged.match not in ("exact", "alias") and "prefix_match" in judged.flags:
                    theirs = tuple(replace(cell, estimated=True) for cell in theirs)
                cells = theirs if first is None else overlay(theirs, cells)
                first = first or judged
                break
            if first is not None and all(cell.unpriced is None for cell in cells):
                break
        return first, cells


def _under(cells: tuple[Cell, ...], default: Cell) -> list[Cell]:
    """What a default price leaves of unpriced cells: the default inside its box, the cells themselves outside."""
    under: list[Cell] = []
    for cell in cells:
        if cell.unpriced is None:
            continue
        common = cell.box.inside(default.box)
        under += [replace(cell, box=rest) for rest in cell.box.outside(default.box)]
        if common is not None:
            under.append(replace(default, box=common))
    return under


def _of_tier(book: Book, found: Found, tier: str, provider: str) -> tuple[Cell, ...]:
    cells = book.cells(found, tier)
    if tier != BATCH or provider not in HALF_PRICE_BATCHES or all(cell.unpriced is None for cell in cells):
        return cells
    halved = [
        replace(
            cell,
            rates={
                counter: rate * Fraction(1, 2) if counter.endswith("_tokens") else rate for counter, rate in cell.rates.items()
            },
            estimated=True,
            flags=(*cell.flags, "batch_half_assumed"),
        )
        for cell in book.cells(found, STANDARD)
        if cell.unpriced is None
    ]
    return overlay(halved or cells, cells)


#: What may follow a name that a book knows by its beginning without making it another model.
_SAME_MODEL = frozenset({"preview", "latest", "exp", "experimental", "beta", "stable", "v1", "v2", "v3", "default"})


def _judged(found: Found, sent: str, changed: bool) -> Found:
    """`found` with what is unusual about how it was found, judged by the name as it was sent."""
    flags = list(found.flags)
    if sent.strip().lower().endswith("-latest") and not found.model.lower().endswith("-latest"):
        flags.append("alias_drift")
    words = found.rest.replace(":", "-").replace(".", "-").replace("@", "-").replace("/", "-").split("-")
    if any(word and not word.isdigit() and word not in _SAME_MODEL for word in words):
        flags.append("prefix_match")
    match = "alias" if changed and found.match == "exact" else found.match
    return Found(provider=found.provider, model=found.model, match=match, flags=tuple(flags))
