"""Before a call: what it would cost on other models, and the cheapest that can do it."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from spanledger.prices.books.flat import Flat
from spanledger.prices.prices import Prices
from spanledger.prices.quote import Call, Quote

#: What a caller may ask of a model, as the imported files name it.
ABILITIES = ("tools", "vision", "reasoning", "json", "audio", "video", "pdf", "search", "caching")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One model for the call that was asked about. `unfit` says why it cannot take it; None when it can."""

    provider: str
    model: str
    quote: Quote
    context_window: int | None
    max_output_tokens: int | None
    abilities: frozenset[str] | None
    unfit: str | None

    @property
    def cost_usd(self) -> Decimal | None:
        return self.quote.cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The call that is asked about, and what a model must be able to do."""

    call: Call
    abilities: frozenset[str] = frozenset()
    context_window: int = 0

    def __post_init__(self) -> None:
        unknown = self.abilities - set(ABILITIES)
        if unknown:
            raise ValueError(f"abilities: {', '.join(sorted(unknown))} is none of {', '.join(ABILITIES)}")


def compare(prices: Prices, wanted: Wanted, models: Iterable[tuple[str, str]] | None = None) -> list[Compared]:
    """The models (all that any book lists by default), those that fit and are priced first, the cheapest on top."""
    asked = list(models) if models is not None else listed(prices)
    compared = [_one(prices, wanted, *name, quote) for name, quote in zip(asked, prices.quotes(asked, wanted.call), strict=True)]
    return sorted(compared, key=_place)


def listed(prices: Prices) -> list[tuple[str, str]]:
    """Every model of every book, once."""
    return list(dict.fromkeys(key for book in prices.layers.books for key in book.listed()))


def _one(prices: Prices, wanted: Wanted, provider: str, model: str, quote: Quote) -> Compared:
    window = prices.context_window(provider, model)
    most = prices.max_output_tokens(provider, model)
    abilities = _abilities(prices, provider, model)
    return Compared(
        provider=provider, model=model, quote=quote, context_window=window, max_output_tokens=most, abilities=abilities,
        unfit=_unfit(wanted, window, most, abilities),
    )  # fmt: skip


def _unfit(wanted: Wanted, window: int | None, most: int | None, abilities: frozenset[str] | None) -> str | None:
    need = max(wanted.context_window, int(wanted.call.counters.get("input_tokens", 0)))
    if need and window is not None and need > window:
        return f"its context window is {window} tokens"
    if wanted.context_window and window is None:
        return "no book says how large its context window is"
    out = int(wanted.call.counters.get("output_tokens", 0))
    if most is not None and out > most:
        return f"it gives at most {most} tokens"
    if wanted.abilities and abilities is None:
        return "no book says what it can do"
    missing = wanted.abilities - (abilities or frozenset())
    return f"it has no {', '.join(sorted(missing))}" if missing else None


def _abilities(prices: Prices, provider: str, model: str) -> frozenset[str] | None:
    for book in prices.layers.books:
        found = book.abilities(provider, model) if isinstance(book, Flat) else None
        if found is not None:
            return found
    return None


def _place(one: Compared) -> tuple[object, ...]:
    unknown = one.cost_usd is None
    return one.unfit is not None, unknown, Decimal(0) if one.cost_usd is None else one.cost_usd, one.provider, one.model
