"""The book that genai-prices bundles: the only module that touches that library.

Its own `get_prices` is asked once in every box of date, hour and tier, so that none of its rules is written twice.
Its lookup caches grow without end; they are not used: `names.py` keeps a bounded one.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise

from genai_prices import types as genai
from genai_prices.data_snapshot import find_provider_by_id

from spanledger.prices.book import (
    BATCH, BEGINNING, DAY_MINUTES, FOREVER, STANDARD, UNBOUNDED, Cell, Found, Match, microseconds,
)  # fmt: skip
from spanledger.prices.meters import BY_RATE_KEY, HOUR, METERS

#: A tier → the contexts in which the library keeps its rates; any one of them that a model has is the one.
CONTEXTS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    BATCH: ({"processing": "batch"},),
    "flex": ({"service_tier": "flex"},),
    "priority": ({"service_tier": "priority"},),
    "fast": ({"service_tier": "fast"}, {"speed": "fast"}),
    "search-fast": ({"search_type": "fast"},),
    "search-web": ({"search_type": "web"},),
    "route-mistral-eu": ({"route": "mistral/eu"},),
}

#: Groq charges at least ten seconds of audio; the library has it in code, not in its prices.
_LEAST_SECONDS = {("groq", "whisper-large-v3"): 10, ("groq", "whisper-large-v3-turbo"): 10}

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class Snapshot:
    """A genai-prices data set as a `Book`."""

    name = "genai-prices"

    def __init__(self, providers: Sequence[genai.Provider] | None = None, version_: str | None = None) -> None:
        if providers is None:
            from genai_prices.data import providers as bundled

            providers = bundled
        self.providers = list(providers)
        self.version = version_ or version("genai-prices")
        self._by_id = {provider.id: provider for provider in self.providers}

    @cached_property
    def sha256(self) -> str:
        """Hash of what the book says, not of the file it came in."""
        digest = hashlib.sha256()
        for provider in sorted(self.providers, key=lambda p: p.id):
            for model in provider.models:
                digest.update(
                    f"{provider.id}\0{model.id}\0{model.match!r}\0{model.prices!r}\0{model.price_variants!r}\n".encode()
                )
        return digest.hexdigest()

    def provider_id(self, provider: str) -> str | None:
        """The library's id for a provider; None when it has none."""
        if provider in self._by_id:
            return provider
        found = find_provider_by_id(self.providers, provider)
        return found.id if found else None

    def find(self, provider: str, model: str) -> Found | None:
        known = self._by_id.get(self.provider_id(provider) or "")
        if known is None:
            return None
        listed = known.find_model(model)
        if listed is not None:
            match, rest = _how(listed, model.lower())
            return Found(provider=known.id, model=listed.id, match=match, rest=rest)
        for other in known.fallback_model_providers or ():
            stand_in = self._by_id[other].find_model(model) if other in self._by_id else None
            if stand_in is not None:
                _, rest = _how(stand_in, model.lower())
                return Found(provider=other, model=stand_in.id, match="fallback", flags=("fallback_provider",), rest=rest)
        return None

    def models(self) -> Iterable[tuple[str, genai.ModelInfo]]:
        """Every model with the id of its provider."""
        for provider in self.providers:
            for model in provider.models:
                yield provider.id, model

    def cells(self, found: Found, tier: str) -> tuple[Cell, ...]:
        model = next(m for m in self._by_id[found.provider].models if m.id == found.model)
        return compile_cells(found.provider, model, tier if found.match != "fallback" or tier == STANDARD else f"fallback {tier}")


def compile_cells(provider: str, model: genai.ModelInfo, tier: str) -> tuple[Cell, ...]:
    """The boxes of one model under one tier."""
    cells: list[Cell] = []
    variants = [v for v in model.price_variants or () if any(v.when.items() <= c.items() for c in CONTEXTS.get(tier, ()))]
    constraints = [v.constraint for v in variants]
    if not isinstance(model.prices, genai.ModelPrice):
        constraints += [priced.constraint for priced in model.prices]
    for starts, ends in pairwise([BEGINNING, *_days(constraints), FOREVER]):
        moment = _EARLIEST if starts == BEGINNING else _moment(starts)
        for minute_from, minute_to in pairwise([0, *_minutes(constraints), DAY_MINUTES]):
            at = moment + timedelta(minutes=minute_from)
            active = [v for v in variants if v.constraint is None or v.constraint.active(at)]
            context = {key: value for v in active for key, value in v.when.items()}
            box = Cell(
                starts=starts, ends=ends, minute_from=minute_from, minute_to=minute_to,
                least_seconds=_LEAST_SECONDS.get((provider, model.id), 0),
            )  # fmt: skip
            if tier != STANDARD and not active:
                cells.append(_unpriced(box, f"no rate for tier {tier}"))
            else:
                cells += _sized(box, model, model.get_prices(at, context))
    return tuple(_merged(cells))


def _sized(box: Cell, model: genai.ModelInfo, price: genai.ModelPrice) -> list[Cell]:
    listed = {key: value for key, value in vars(price).items() if value is not None and not key.startswith("_")}
    if not listed:
        # 18 models that are not free have an empty price in 0.2.3: only a name that says so is.
        if model.id.endswith(":free"):
            return [_with(box, free=True, rates={m.counter: Fraction(0) for m in METERS})]
        return [_unpriced(box, "the book lists the model without a price", "empty_price")]
    starts = sorted({tier.start for value in listed.values() if isinstance(value, genai.TieredPrices) for tier in value.tiers})
    cells = []
    for over, upto in pairwise([-1, *starts, UNBOUNDED]):
        rates = {}
        for key, value in listed.items():
            meter = BY_RATE_KEY.get("audio_hours" if key in ("input_audio_hours", "output_audio_hours") else key)
            if meter is not None:
                rates[meter.counter] = Fraction(_at(value, over)) / (HOUR if meter.seconds else meter.per)
        cells.append(priced_cell(_with(box, over=over, upto=upto), rates))
    return cells


def priced_cell(box: Cell, rates: Mapping[str, Fraction]) -> Cell:
    """`box` with `rates`, in which a part without a rate of its own has the rate of its narrowest priced whole."""
    full, inherited = dict(rates), set()
    for meter in METERS:
        if meter.counter in full or meter.own_rate:
            continue
        # A whole comes before its parts in the table. Where a part has two, the first with a rate of its own wins.
        whole = next((w for w in meter.part_of if w in rates), next((w for w in meter.part_of if w in full), None))
        if whole is not None:
            full[meter.counter] = full[whole]
            inherited.add(meter.counter)
    return _with(box, rates=full, inherited=frozenset(inherited))


def _at(value: object, over: int) -> object:
    if not isinstance(value, genai.TieredPrices):
        return value
    rate = value.base
    for tier in value.tiers:
        if over >= tier.start:
            rate = tier.price
    return rate


def _days(constraints: Iterable[object]) -> list[int]:
    days = {c.start_date for c in constraints if isinstance(c, genai.StartDateConstraint)}
    return sorted(microseconds(datetime.combine(day, time(), UTC)) for day in days)


def _minutes(constraints: Iterable[object]) -> list[int]:
    clocks = [t for c in constraints if isinstance(c, genai.TimeOfDateConstraint) for t in (c.start_time, c.end_time)]
    return sorted({t.hour * 60 + t.minute for t in clocks} - {0})


def _moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


def _with(cell: Cell, **changes: object) -> Cell:
    from dataclasses import replace

    return replace(cell, **changes)  # type: ignore[arg-type]


def _unpriced(box: Cell, reason: str, *flags: str) -> Cell:
    return _with(box, unpriced=reason, flags=flags)


def _merged(cells: Sequence[Cell]) -> list[Cell]:
    """Neighbouring hours with the same rates as one box."""
    merged: list[Cell] = []
    for cell in cells:
        for index, other in enumerate(merged):
            if other.minute_to == cell.minute_from and _with(other, minute_to=cell.minute_to) == _with(
                cell, minute_from=other.minute_from
            ):
                merged[index] = _with(other, minute_to=cell.minute_to)
                break
        else:
            merged.append(cell)
    return merged


def _how(model: genai.ModelInfo, name: str) -> tuple[Match, str]:
    """Which kind of clause recognised a name, and how much of it no clause spells out."""
    if name == model.id.lower():
        return "exact", ""
    kinds = sorted(_clauses(model.match, name))
    return kinds[0][1], kinds[0][2]


def _clauses(clause: object, name: str) -> list[tuple[int, Match, str]]:
    match clause:
        case genai.ClauseEquals(equals=text) if text.lower() == name:
            return [(0, "alias", "")]
        case genai.ClauseStartsWith(starts_with=text) if name.startswith(text.lower()):
            return [(1, "prefix", name[len(text) :])]
        case genai.ClauseEndsWith(ends_with=text) if name.endswith(text.lower()):
            return [(2, "suffix", name[: -len(text)])]
        case genai.ClauseRegex() if clause.is_match(name):
            return [(3, "pattern", "")]
        case genai.ClauseContains(contains=text) if text.lower() in name:
            return [(4, "contains", name.replace(text.lower(), "", 1))]
        case genai.ClauseOr(or_=parts):
            return [found for part in parts for found in _clauses(part, name)]
        case genai.ClauseAnd(and_=parts):
            return [found for part in parts for found in _clauses(part, name)] if clause.is_match(name) else []
        case _:
            return []
