"""What is wrong with the prices in a file, before it is made a book: the first fault, with the path to it.

A price that is dropped is a call that costs too little, so that nothing is passed over in silence: text where a number belongs,
a number below zero or without an end, a unit that nobody knows, a model whose provider is missing.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from genai_prices.units import _get_registry

from spanledger.prices.cell import DAY_MINUTES
from spanledger.prices.meters import BY_RATE_KEY
from spanledger.prices.rule_form import MOST_USD

#: Ours, and those of genai-prices that telemetry has no counter for: what is charged by them is not charged to anybody here.
UNITS = frozenset({*BY_RATE_KEY, *(unit.price_key for unit in _get_registry().units.values())})

#: No model takes a prompt of so many tokens.
MOST_TOKENS = 10**12

_HOURS = re.compile(r"(?:[01]\d|2[0-4]):[0-5]\d-(?:[01]\d|2[0-4]):[0-5]\d")


def genai_fault(providers: list[Any]) -> str | None:
    """The first fault of a data set of genai-prices."""
    for path, prices in _genai_prices(providers):
        for unit, price in prices.items():
            if unit not in UNITS:
                near = difflib.get_close_matches(unit, UNITS, 1)
                meant = f"did you mean {near[0]}?" if near else "a newer file may need a newer Spanledger"
                return f"{path}.{unit} is not a known unit ({meant})"
            if fault := next(_not_prices(f"{path}.{unit}", price, texts=True), None):
                return fault
    return None


def litellm_fault(file: Mapping[str, Any]) -> str | None:
    """The first fault of a map such as LiteLLM's."""
    for name, entry in file.items():
        if name == "sample_spec" or not isinstance(entry, Mapping):
            continue
        costs = {key: value for key, value in entry.items() if "cost" in key or key == "tiered_pricing"}
        for key, value in costs.items():
            if fault := next(_not_prices(f"{name}.{key}", value), None):
                return fault
        provider = entry.get("litellm_provider")
        if any(costs.values()) and not (provider and isinstance(provider, str)):
            return f'{name}.litellm_provider is {provider!r}: a price needs the provider that asks it, such as "openai"'
        fault = _off_peak_fault(f"{name}.off_peak_pricing", entry.get("off_peak_pricing"))
        if fault := fault or _ranges_fault(f"{name}.tiered_pricing", entry.get("tiered_pricing")):
            return fault
    return None


def models_dev_fault(file: Mapping[str, Any]) -> str | None:
    """The first fault of a file such as models.dev's."""
    for path, provider in file.items():
        if not isinstance(provider, Mapping) or not isinstance(provider.get("models") or {}, Mapping):
            return f"{path} is no provider: expected an object with models"
        for name, model in (provider.get("models") or {}).items():
            here = f"{path}.models.{name}"
            if not isinstance(model, Mapping):
                return f"{here} is no model: expected an object with cost"
            for part in ("cost", "limit", "modalities"):
                if not isinstance(model.get(part) or {}, Mapping):
                    return f"{here}.{part} is {_shown(model[part])}: expected an object"
            if fault := next(_not_prices(f"{here}.cost", model.get("cost")), None):
                return fault
            tiers = (model.get("cost") or {}).get("tiers") or []
            if not isinstance(tiers, list):
                return f"{here}.cost.tiers is {_shown(tiers)}: expected a list"
            for at, tier in enumerate(tiers):
                if not isinstance(tier, Mapping) or not isinstance(tier.get("tier") or {}, Mapping):
                    return f"{here}.cost.tiers[{at}] is {_shown(tier)}: expected an object with prices and a tier"
            heard = (model.get("modalities") or {}).get("input") or []
            if not isinstance(heard, list):
                return f"{here}.modalities.input is {_shown(heard)}: expected a list"
    return None


def _genai_prices(providers: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every set of prices with its path, the conditional and the varied ones included; what has another form is left to the
    library, which says what it expects."""
    left: list[tuple[str, Any]] = [(f"[{at}]", provider) for at, provider in enumerate(providers)]
    while left:
        path, value = left.pop(0)
        if not isinstance(value, Mapping):
            continue
        for key in ("models", "prices", "price_variants"):
            inner = value.get(key)
            if isinstance(inner, list):
                left += [(f"{path}.{key}[{at}]", one) for at, one in enumerate(inner)]
            elif key == "prices" and isinstance(inner, Mapping):
                yield f"{path}.prices", inner


def _not_prices(path: str, value: Any, *, texts: bool = False) -> Iterator[str]:
    """What is not a price among all that is under a path; for whom or when a tier is, is none. With `texts`, decimals may be
    written as text."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key not in ("tier", "range", "max_results_range", "start"):
                yield from _not_prices(f"{path}.{key}", one, texts=texts)
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _not_prices(f"{path}[{at}]", one, texts=texts)
    elif value is not None:
        amount = _amount(value, texts=texts)
        if amount is None:
            yield f"{path} is {_shown(value)}: a price is a number, without a currency or quotes"
        elif not amount.is_finite():
            yield f"{path} is {_shown(value)}: a price is a number that ends"
        elif amount < 0:
            yield f"{path} is {_shown(value)}: a price below zero"
        elif amount > MOST_USD:
            yield f"{path} is {_shown(value)}: a price of more than a million US dollars"


def _amount(value: Any, *, texts: bool) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float) if texts else (int, float)):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _off_peak_fault(path: str, pricing: Any) -> str | None:
    if not isinstance(pricing, Mapping):
        return None
    costs = {key: value for key, value in pricing.items() if "cost" in key}
    if fault := next(_not_prices(path, costs), None):
        return fault
    windows = pricing.get("windows") or []
    if not isinstance(windows, list):
        return f"{path}.windows is {_shown(windows)}: expected a list"
    for at, window in enumerate(windows):
        here = f"{path}.windows[{at}]"
        if not isinstance(window, Mapping):
            return f"{here} is {_shown(window)}: expected an object with hours_utc and weekdays"
        spans = window.get("hours_utc") or []
        for span in spans if isinstance(spans, list) else [spans]:
            if not _are_hours(str(span)):
                return (
                    f"{here}.hours_utc is {_shown(span)}: expected HH:MM-HH:MM, such as 16:30-24:00; over midnight, two of them"
                )
        days = window.get("weekdays", [1])
        if not isinstance(days, list) or not days or any(days.count(day) > 1 or day not in range(1, 8) for day in days):
            return f"{here}.weekdays is {_shown(days)}: expected days from 1, Monday, to 7"
    return None


def _are_hours(text: str) -> bool:
    found = _HOURS.fullmatch(text)
    if found is None:
        return False
    first, last = (int(clock[:2]) * 60 + int(clock[3:]) for clock in text.split("-"))
    return first < (last or DAY_MINUTES) <= DAY_MINUTES


def _ranges_fault(path: str, tiered: Any) -> str | None:
    for at, part in enumerate(tiered if isinstance(tiered, list) else ()):
        sizes = part.get("range") if isinstance(part, Mapping) else None
        if sizes is None:
            continue
        whole = isinstance(sizes, list) and len(sizes) == 2 and all(isinstance(size, int | float) for size in sizes)
        if not whole or not 0 <= sizes[0] < sizes[1] < MOST_TOKENS:
            return f"{path}[{at}].range is {_shown(sizes)}: expected two numbers of tokens, such as [0, 256000]"
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}…"
