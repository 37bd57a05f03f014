"""First hit wins: contract, site, the books in their order, a default, and then nothing: unpriced."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from spanledger.prices.books.at_azure import at_azure
from spanledger.prices.books.book import Book
from spanledger.prices.books.flat import OF_NO_SIZE, Flat
from spanledger.prices.books.found import Found
from spanledger.prices.cell import Cell, overlay, unpriced_everywhere
from spanledger.prices.judged import known_as, of_tier
from spanledger.prices.names import GOV, in_govcloud, of_size, provider_id, spellings
from spanledger.prices.regions import ABROAD, GOVCLOUD, REGIONAL, place_of
from spanledger.prices.rule import ANY, Belongs, Rule, apply
from spanledger.prices.rules_about import RulesAbout
from spanledger.prices.tiers import STANDARD


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
    #: What the books say that it is, whatever rules make of it.
    listed: Found | None = None
    #: Ids of the rules that cover it, lowest rank first.
    rules: tuple[str, ...] = ()

    def found_in(self, cell: Cell) -> Found | None:
        """What the name is in one of its cells: a rule has a say only where and as long as it is in force."""
        return cell.named or self.listed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """What the books say of a name, and all names that a rule may call it by."""

    found: Found | None
    cells: tuple[Cell, ...]
    #: Lowered, from as it was sent to as the book has it.
    names: tuple[str, ...]


#: Provider by the book's id, model, tier and variant.
_Asked = tuple[str, str, str, str]

#: Flags of names whose price is that of something like them.
_GUESSED = frozenset({"prefix_match", "route_assumed"})

#: Names of which is remembered what the books say; strangers' names push each other out.
MOST_LISTED = 30_000


class Layers:
    """Books and rules, immutable: a change of either makes another one."""

    def __init__(self, books: Sequence[Book], rules: Sequence[Rule] = (), before: "Layers | None" = None) -> None:
        """`before` are the layers that these take the place of: what is as it was there is taken from there."""
        self.books = tuple(books)
        self._listed: dict[_Asked, _Listed] = before._listed if before and before.books == self.books else {}
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.rank, rule.rule_id)))
        self._regions = frozenset(rule.region for rule in self.rules) - {ANY}
        #: Models that rules price by the size of what they make.
        self._sized = frozenset(of_size(rule.model) for rule in self.rules) - {None}
        #: Whether quality and size of what was made matter anywhere.
        self.sizes = bool(self._sized) or any(isinstance(book, Flat) and book.sizes for book in self.books)
        self.belongings = frozenset((rule.scope, rule.belongs_to) for rule in self.rules if rule.scope != "all")
        self._about = RulesAbout(self.rules)
        #: What has been asked; what the layers before and their books said of names; and the rules that only one of the two has.
        self._known: dict[Name, Priced] = {}
        self._before = before._known if before else {}
        self._listed_before = before._listed if before else {}
        self._changed = RulesAbout(_only_in_one(self.rules, before.rules) if before else ())
        #: Rules that make a price hang on what books say of another model.
        self._borrowing = frozenset(rule.rule_id for rule in self.rules if rule.same_as)

    def priced(self, name: Name) -> Priced:
        """The cells that price calls of a name."""
        if not name.model or not name.model.strip():
            return Priced(found=None, cells=unpriced_everywhere("no model named"))
        if not name.provider or not name.provider.strip():
            return Priced(found=None, cells=unpriced_everywhere("no provider named"))
        if (known := self._known.get(name)) is None:
            if len(self._known) >= MOST_LISTED:
                self._known.clear()
            provider, model = provider_id(name.provider), name.model
            if provider == "aws" and place_of(name.region) == GOVCLOUD:
                model = in_govcloud(provider, model)
            known = self._as_before(provider, model, name) or self._priced(provider, model, name)
            self._known[name] = known
        return known

    def region(self, region: str | None) -> str | None:
        """What of a region decides rates: itself where a rule is for it, else which kind of place it is, if that does."""
        return region if region in self._regions else place_of(region)

    def knows(self, provider: str, model: str) -> bool:
        """Whether a book knows a model by this name."""
        return self._in_books(provider_id(provider), model, STANDARD, "").found is not None

    def _as_before(self, provider: str, model: str, name: Name) -> Priced | None:
        """What the layers before these said of a name, where the books say the same of it and no rule that is new or gone is
        about it."""
        known = self._before.get(name)
        if known is None:
            return None
        listed = self._in_books(provider, model, name.tier, name.variant)
        if self._listed is not self._listed_before:
            same = listed is self._listed_before.get((provider, model, name.tier, name.variant))
            if not same or not self._borrowing.isdisjoint(known.rules):
                return None
        return None if self._changed.places(provider, listed.names, name.belongs) else known

    def _priced(self, provider: str, model: str, name: Name) -> Priced:
        listed = self._in_books(provider, model, name.tier, name.variant)
        covering = self._covering(provider, listed.names, name)
        if provider == "aws" and _is_abroad(name.region, listed.names, covering):
            listed = _abroad(listed)
        found, cells, names = listed.found, listed.cells, listed.names
        applied = []
        for rule in covering:
            applied.append(rule.rule_id)
            if rule.layer == "default":
                named = None if found else Found(provider=provider, model=rule.model, match="default")
                default = Cell(box=rule.box, estimated=True, rules=(rule.rule_id,), flags=("default_price",), named=named)
                cells = overlay(_under(cells, default.at_rates(rule.rates)), cells)
                found = found or named
                continue
            if rule.same_as:
                other_provider, _, other = rule.same_as.partition("/")
                same = self._in_books(provider_id(other_provider), other, name.tier, name.variant)
                if same.found is None:  # its book is gone: what is below stands
                    continue
                found = Found(provider=same.found.provider, model=same.found.model, match="rule")
                cells = apply(rule, cells, [replace(cell, named=found) for cell in same.cells])
                continue
            cells = apply(rule, cells)
            if rule.rates and listed.found is None:
                named = Found(provider=provider, model=rule.model, match="rule")
                cells = tuple(replace(c, named=c.named or named) if rule.rule_id in c.rules else c for c in cells)
                found = found or named
        if found is None and not self._sized.isdisjoint(names):
            cells = unpriced_everywhere(OF_NO_SIZE)
        return Priced(found=found, listed=listed.found, cells=cells, rules=tuple(applied))

    def _covering(self, provider: str, names: Sequence[str], name: Name) -> list[Rule]:
        """The rules that are about a name, in the order in which they apply: by rank, and where two of one rank call the model
        by different names, the one for the name as it was sent goes over the one for what the book calls it."""
        regions = _regions(provider, name)
        covering = [
            rule for rule in (self.rules[place] for place in self._about.places(provider, names, name.belongs))
            if not (name.listed and rule.layer == "contract")
            and rule.covers(provider, names, name.tier, regions, name.belongs)
        ]  # fmt: skip
        if len(covering) > 1:
            covering.sort(key=lambda rule: (rule.rank, next(-at for at, one in enumerate(names) if rule.calls_it(one))))
        return covering

    def _in_books(self, provider: str, model: str, tier: str, variant: str) -> _Listed:
        asked = (provider, model, tier, variant)
        known = self._listed.get(asked)
        if known is None:
            if len(self._listed) >= MOST_LISTED:
                self._listed.clear()
            found, cells = self._looked_up(provider, model, tier, variant)
            names = [spelled.lower() for spelled, _ in spellings(provider, model, variant)]
            names += [found.model.lower()] if found else []
            known = _Listed(found=found, cells=cells, names=tuple(dict.fromkeys(names)))
            before = self._listed_before.get(asked)
            self._listed[asked] = known = before if before == known else known
        return known

    def _looked_up(self, provider: str, model: str, tier: str, variant: str) -> tuple[Found | None, tuple[Cell, ...]]:
        """The first book that knows the model decides what it is; where it has no price, the next one's stands. What another
        provider charges for it comes last, and is an estimate, as is what a name that is known only in part may cost."""
        first: Found | None = None
        cells: tuple[Cell, ...] = unpriced_everywhere("unknown model")
        for book, found, judged in self._knowing(provider, model, variant):
            theirs = of_tier(book, found, tier, provider)
            if found.match == "fallback" and provider == "azure":
                theirs = tuple(at_azure(found, cell) for cell in theirs)
            elif found.match == "fallback":
                theirs = tuple(replace(cell, estimated=True) for cell in theirs)
            if not _GUESSED.isdisjoint(judged.flags):
                theirs = tuple(replace(cell, estimated=True) for cell in theirs)
            if "online_search" in judged.flags:
                theirs = tuple(cell.charging("searches") for cell in theirs)
            cells = theirs if first is None else overlay(theirs, cells)
            first = first or judged
            if first is not None and all(cell.unpriced is None for cell in cells):
                break
        return first, cells

    def _knowing(self, provider: str, model: str, variant: str) -> Iterator[tuple[Book, Found, Found]]:
        """The books that know a model, those that know it of its own provider first; each with what `known_as` finds in it."""
        stand_ins = []
        for book in self.books:
            if (known := known_as(book, provider, model, variant)) is None:
                continue
            if known[0].match == "fallback":
                stand_ins.append((book, *known))
            else:
                yield book, *known
        yield from stand_ins


def _regions(provider: str, name: Name) -> tuple[str | None, ...]:
    """All that a name's region is called; Gemini's own API answers in none, wherever the caller may be."""
    nowhere = provider == "google" and "vertex" not in (name.provider or "").lower()
    return tuple({name.region, place_of(name.region)} - ({REGIONAL} if nowhere else set()))


def _is_abroad(region: str | None, names: Sequence[str], covering: Sequence[Rule]) -> bool:
    """Whether a call to Bedrock is answered where no price list that is known of has its prices."""
    in_govcloud = any(name.startswith(GOV) for name in names)
    return place_of(region) == ABROAD or (in_govcloud and not any("regional_uplift" in rule.flags for rule in covering))


def _abroad(listed: _Listed) -> _Listed:
    """What the books say of a model on Bedrock in a region that they do not tell from others: an estimate, but for models
    that they price by where they answer."""
    if listed.found is None or listed.found.model.startswith(("regional.", "global.")):
        return listed
    found = replace(listed.found, flags=(*listed.found.flags, "region_assumed"))
    return replace(listed, found=found, cells=tuple(replace(cell, estimated=True) for cell in listed.cells))


def _only_in_one(rules: Sequence[Rule], others: Sequence[Rule]) -> list[Rule]:
    have, had = ({rule.digest for rule in some} for some in (rules, others))
    return [rule for rule in (*rules, *others) if rule.digest not in have or rule.digest not in had]


def _under(cells: tuple[Cell, ...], default: Cell) -> list[Cell]:
    """What a default price leaves of unpriced cells: the default inside its box, the cells themselves outside."""
    under: list[Cell] = []
    for cell in cells:
        if cell.unpriced is None:
            continue
        common = cell.box.inside(default.box)
        under += [replace(cell, box=rest) for rest in cell.box.outside(default.box)]
        if common is not None:
            under.append(replace(default, box=common, without_default=replace(cell, box=common)))
    return under
