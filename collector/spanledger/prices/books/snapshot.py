"""A data set of genai-prices as a book; with `clauses.py`, the only code that touches that library.

The library's own `get_prices` is asked once in every box of date and hour, so that none of its rules is written twice.
"""

import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import orjson
from genai_prices import types as genai
from genai_prices.data_snapshot import find_provider_by_id

from spanledger.prices.books.clauses import Clauses
from spanledger.prices.books.found import Found
from spanledger.prices.cell import BEGINNING, DAY_MINUTES, FOREVER, UNBOUNDED, Box, Cell, microseconds, moment
from spanledger.prices.meters import BY_RATE_KEY, HOUR, METERS
from spanledger.prices.tiers import BATCH, STANDARD

#: A tier → the contexts under which the library keeps its rates; a model has at most one of them.
CONTEXTS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    BATCH: ({"processing": "batch"},),
    "flex": ({"service_tier": "flex"},),
    "priority": ({"service_tier": "priority"},),
    "fast": ({"service_tier": "fast"}, {"speed": "fast"}),
    "search:fast": ({"search_type": "fast"},),
    "search:web": ({"search_type": "web"},),
    "route:mistral/eu": ({"route": "mistral/eu"},),
}

#: The library has this in its code, not in its prices.
_LEAST_SECONDS = {("groq", "whisper-large-v3"): 10, ("groq", "whisper-large-v3-turbo"): 10}

#: Directions that the ledger does not tell apart: a call either hears or speaks.
_SAME_RATE = {"input_audio_hours": "audio_hours", "output_audio_hours": "audio_hours"}

_BEFORE_ALL_DATES = datetime(2000, 1, 1, tzinfo=UTC)


class Snapshot:
    """Everything in one data set: the bundled one when `providers` is None."""

    name = "genai-prices"

    def __init__(self, providers: Sequence[genai.Provider] | None = None, version_: str | None = None) -> None:
        if providers is None:
            from genai_prices.data import providers as bundled

            providers = bundled
        self.providers = list(providers)
        self.version = version_ or version("genai-prices")
        self._by_id = {provider.id: provider for provider in self.providers}
        self._ids: dict[str, str | None] = {}
        self._models = {(p.id, model.id): model for p in self.providers for model in p.models}
        self._ids_of = {p.id: {model.id.lower(): model.id for model in p.models} for p in self.providers}
        self._clauses: dict[str, Clauses] = {}

    @cached_property
    def sha256(self) -> str:
        """Hash of what the book says, whatever file it came in."""
        digest = hashlib.sha256()
        for (provider, name), model in sorted(self._models.items()):
            says = [provider, name, _plain(model.match), self.says(provider, name)]
            digest.update(orjson.dumps(says, option=orjson.OPT_SORT_KEYS))
        return digest.hexdigest()

    @cached_property
    def content(self) -> bytes:
        """The book as a file, gzipped, from which `book_file.book_of` makes the same again."""
        # Level 9 makes it a fiftieth smaller and takes twice as long, at each first start.
        return gzip.compress(orjson.dumps([_plain(provider) for provider in self.providers]), 6, mtime=0)

    def find(self, provider: str, model: str) -> Found | None:
        known = self._provider(provider)
        if known is None:
            return None
        found = self._clauses_of(known.id).find(model)
        if found is not None:
            return Found(provider=known.id, model=found[0].id, match=found[1], rest=found[2])
        for other in known.fallback_model_providers or ():
            stand_in = self._clauses_of(other).find(model) if other in self._by_id else None
            if stand_in is not None:
                flags = ("fallback_provider",)
                return Found(provider=other, model=stand_in[0].id, match="fallback", flags=flags, rest=stand_in[2])
        # 75 models of 0.2.3 are not matched by their own id (Fireworks' short names among them).
        own = self._ids_of[known.id].get(model.lower())
        return Found(provider=known.id, model=own, match="exact") if own else None

    def cells(self, found: Found, tier: str) -> tuple[Cell, ...]:
        # What a provider charges for another's tiers is not what that one charges: a fallback has the standard tier only.
        if found.match == "fallback" and tier != STANDARD:
            return (_unpriced(Cell(), tier),)
        model = self._models[found.provider, found.model]
        return tuple(_merged(_compiled(found.provider, model, tier)))

    def listed(self) -> list[tuple[str, str]]:
        return list(self._models)

    def says(self, provider: str, model: str) -> object:
        known = self._models[provider, model]
        return _plain([known.prices, known.price_variants])

    def models(self) -> Iterable[tuple[genai.Provider, genai.ModelInfo]]:
        """Every model with its provider, as the library has them."""
        return ((self._by_id[provider], model) for (provider, _), model in self._models.items())

    def context_window(self, provider: str, model: str) -> int | None:
        known = self._models.get((provider, model))
        return known.context_window if known else None

    def max_output_tokens(self, provider: str, model: str) -> int | None:
        return None

    def _provider(self, provider: str) -> genai.Provider | None:
        if provider in self._by_id:
            return self._by_id[provider]
        if provider not in self._ids:
            if len(self._ids) > 1_000:
                self._ids.clear()
            known = find_provider_by_id(self.providers, provider)
            self._ids[provider] = known.id if known else None
        known_as = self._ids[provider]
        return self._by_id[known_as] if known_as else None

    def _clauses_of(self, provider: str) -> Clauses:
        if provider not in self._clauses:
            self._clauses[provider] = Clauses(self._by_id[provider].models)
        return self._clauses[provider]


@cache
def installed() -> Snapshot:
    """The data set that the installed library bundles, read once in a process."""
    return Snapshot()


def _compiled(provider: str, model: genai.ModelInfo, tier: str) -> Iterable[Cell]:
    contexts = CONTEXTS.get(tier, ())
    variants = [v for v in model.price_variants or () if any(v.when.items() <= context.items() for context in contexts)]
    constraints = [v.constraint for v in variants]
    if not isinstance(model.prices, genai.ModelPrice):
        constraints += [priced.constraint for priced in model.prices]
    least = _LEAST_SECONDS.get((provider, model.id), 0)
    for starts, ends in pairwise([BEGINNING, *_days(constraints), FOREVER]):
        day = _BEFORE_ALL_DATES if starts == BEGINNING else moment(starts)
        for minute_from, minute_to in pairwise([0, *_minutes(constraints), DAY_MINUTES]):
            at = day + timedelta(minutes=minute_from)
            active = [v for v in variants if v.constraint is None or v.constraint.active(at)]
            box = Box(starts=starts, ends=ends, minute_from=minute_from, minute_to=minute_to)
            cell = Cell(box=box, least_seconds=least)
            if tier != STANDARD and not active:
                yield _unpriced(cell, tier)
            else:
                yield from _sized(cell, model, model.get_prices(at, {k: w for v in active for k, w in v.when.items()}))


def _sized(cell: Cell, model: genai.ModelInfo, price: genai.ModelPrice) -> Iterable[Cell]:
    listed = {key: value for key, value in vars(price).items() if value is not None}
    if not listed:
        # 18 models with an empty price in 0.2.3 are not free at all: only a name that says so is.
        if model.id.endswith(":free"):
            yield replace(cell, free=True, rates={meter.counter: Fraction(0) for meter in METERS})
        else:
            yield replace(cell, unpriced="the book lists this model without a price", flags=("empty_price",))
        return
    starts = sorted({tier.start for value in listed.values() if isinstance(value, genai.TieredPrices) for tier in value.tiers})
    for over, upto in pairwise([-1, *starts, UNBOUNDED]):
        rates: dict[str, Fraction] = {}
        for key, value in listed.items():
            meter = BY_RATE_KEY.get(_SAME_RATE.get(key, key))
            if meter is not None:
                rates[meter.counter] = Fraction(_over(value, over)) / (HOUR if meter.seconds else meter.per)
        yield replace(cell, box=replace(cell.box, over=over, upto=upto)).at_rates(rates)


def _over(value: Decimal | genai.TieredPrices, size: int) -> Decimal:
    if not isinstance(value, genai.TieredPrices):
        return value
    return next((tier.price for tier in reversed(value.tiers) if size >= tier.start), value.base)


def _unpriced(cell: Cell, tier: str) -> Cell:
    return replace(cell, unpriced=f"no rate for tier {tier}", flags=("context_unmatched",))


def _days(constraints: Iterable[object]) -> list[int]:
    days = {c.start_date for c in constraints if isinstance(c, genai.StartDateConstraint)}
    return sorted(microseconds(datetime.combine(day, time(), UTC)) for day in days)


def _minutes(constraints: Iterable[object]) -> list[int]:
    clocks = [t for c in constraints if isinstance(c, genai.TimeOfDateConstraint) for t in (c.start_time, c.end_time)]
    return sorted({t.hour * 60 + t.minute for t in clocks} - {0})


def _merged(cells: Iterable[Cell]) -> list[Cell]:
    """Neighbouring hours of the same rates as one cell."""
    merged: list[Cell] = []
    for cell in cells:
        for index, other in enumerate(merged):
            if other.box.minute_to == cell.box.minute_from and replace(cell, box=other.box) == other:
                together = replace(other.box, minute_to=cell.box.minute_to)
                if replace(together, minute_from=cell.box.minute_from) == cell.box:
                    merged[index] = replace(other, box=together)
                    break
        else:
            merged.append(cell)
    return merged


def _plain(value: Any) -> Any:
    """The library's objects as its files spell them. How usage is read from answers is left out: it prices nothing."""
    if isinstance(value, genai.ModelPrice):
        return {key: _plain(rate) for key, rate in vars(value).items() if rate is not None}
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if spelt := _spelt(value.__class__):
        return {said: _plain(one) for name, said in spelt if (one := getattr(value, name)) is not None}
    if isinstance(value, time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


@cache
def _spelt(kind: type) -> tuple[tuple[str, str], ...]:
    """The fields of a kind of the library's objects, each with its name in files."""
    named = fields(kind) if is_dataclass(kind) else ()
    return tuple((field.name, field.name.rstrip("_")) for field in named if field.name != "extractors")
