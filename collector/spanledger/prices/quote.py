"""What one call costs, in microseconds: for holds, and for questions before a call."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from spanledger.prices.cell import Box, Cell, microseconds
from spanledger.prices.layers import Layers, Name, Priced
from spanledger.prices.meters import BY_COUNTER, CHARGED, COMPONENTS, METERS
from spanledger.prices.tables import PICO, grains

MOST_QUOTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a call costs, to the last digit, or why nobody can say."""

    cost_usd: Decimal | None
    cost_state: str
    unpriced_reason: str | None = None
    priced_as: str | None = None
    price_match: str | None = None
    flags: tuple[str, ...] = ()
    #: By component: input, cache_read, cache_write, output, other. Empty when unpriced.
    components: Mapping[str, Decimal] | None = None
    #: The rules that had a part in the price.
    rules: tuple[str, ...] = ()
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fast:
    """One cell with its rates in grains."""

    box: Box
    cell: Cell
    rates: Mapping[str, int]
    dearest_input: int | None
    dearest_output: int | None
    request: int


class Quotes:
    """Quotes under one state of books and rules; what a name resolves to is kept for the names in use."""

    def __init__(self, layers: Layers, revision: str) -> None:
        self.layers = layers
        self.revision = revision
        self._names: dict[Name, tuple[Priced, tuple[_Fast, ...]]] = {}
        self._cells: dict[Hashable, tuple[_Fast, ...]] = {}

    def quote(self, name: Name, at: datetime, counters: Mapping[str, float]) -> Quote:
        """The cost of a call with these counters of the ledger."""
        priced, cells = self._of(name)
        fast = _holding(cells, microseconds(at), int(counters.get("input_tokens", 0)))
        cell = fast.cell
        amounts = {"requests": 1, **{counter: value for counter, value in counters.items() if value}}
        unknown = amounts.keys() - BY_COUNTER.keys()
        if unknown:
            raise ValueError(f"not a counter: {', '.join(sorted(unknown))}; counters are {', '.join(BY_COUNTER)}")
        missing = _missing(cell, amounts)
        if cell.unpriced is not None or missing:
            return self._unpriced(priced, cell, cell.unpriced or f"no rate for {', '.join(missing)}")
        parts = charge(fast.rates, cell.least_seconds, amounts)
        return self._quote(priced, cell, sum(parts.values()), parts)

    def worst(self, name: Name, at: datetime, input_tokens: int, output_tokens: int) -> Quote:
        """The most that a call of plain tokens can cost: all input at the dearest of fresh and cache write, all output
        at the dearest of output and reasoning."""
        priced, cells = self._of(name)
        fast = _holding(cells, microseconds(at), input_tokens)
        most = _most(fast, input_tokens, output_tokens)
        return self._unpriced(priced, fast.cell, most) if isinstance(most, str) else self._quote(priced, fast.cell, most, None)

    def most(self, name: Callable[[], Name], known_as: Hashable, at: int, input_tokens: int, output_tokens: int) -> int | str:
        """`worst` as whole pico-dollars, or why nobody knows; `at` in microseconds. It is asked for every check, so a name
        is made once for what it is known as."""
        cells = self._cells.get(known_as)
        if cells is None:
            if len(self._cells) >= MOST_QUOTED:
                self._cells.clear()
            cells = self._cells[known_as] = self._of(name())[1]
        return _most(_holding(cells, at, input_tokens), input_tokens, output_tokens)

    def priced(self, name: Name) -> Priced:
        return self._of(name)[0]

    def _of(self, name: Name) -> tuple[Priced, tuple[_Fast, ...]]:
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= MOST_QUOTED:
                self._names.clear()
            priced = self.layers.priced(name)
            known = self._names[name] = priced, tuple(_fast(cell) for cell in priced.cells)
        return known

    def _quote(self, priced: Priced, cell: Cell, pico: int, parts: Mapping[str, int] | None) -> Quote:
        found = priced.found
        return Quote(
            cost_usd=_usd(pico),
            cost_state="free" if cell.free else "estimated" if cell.estimated else "priced",
            priced_as=f"{found.provider}/{found.model}" if found else None,
            price_match=found.match if found else None,
            flags=(found.flags if found else ()) + cell.flags,
            components=None if parts is None else {component: _usd(part) for component, part in parts.items()},
            rules=cell.rules,
            revision=self.revision,
        )

    def _unpriced(self, priced: Priced, cell: Cell, reason: str) -> Quote:
        found = priced.found
        return Quote(
            cost_usd=None, cost_state="unpriced", unpriced_reason=reason,
            priced_as=f"{found.provider}/{found.model}" if found else None,
            price_match=found.match if found else None,
            flags=(found.flags if found else ()) + cell.flags, revision=self.revision,
        )  # fmt: skip


def _missing(cell: Cell, amounts: Mapping[str, float]) -> list[str]:
    """The counters that would need a rate and have none, as a batch sees it."""
    charged = [BY_COUNTER[counter] for counter in amounts if counter in cell.rates]
    by_tokens = any(meter.counter.endswith("_tokens") for meter in charged)
    by_others = any(meter.instead for meter in charged) and not any(counter.endswith("_tokens") for counter in cell.rates)
    return [
        counter for counter in amounts
        if counter not in cell.rates and counter != "requests"
        and not (by_tokens and BY_COUNTER[counter].instead) and not (by_others and counter.endswith("_tokens"))
    ]  # fmt: skip


def charge(rates: Mapping[str, int], least_seconds: int, counters: Mapping[str, float]) -> dict[str, int]:
    """Pico-dollars by component of one call, by the arithmetic of a batch: whole grains, rounded once, half to even,
    and the largest component takes what rounding leaves. `rates` are grains by counter."""
    parts = dict.fromkeys(COMPONENTS, 0)
    whole = {name: round(value * 1_000_000) if BY_COUNTER[name].seconds else round(value) for name, value in counters.items()}
    for counter, (component, terms) in _TERMS.items():
        rate = rates.get(counter)
        if not rate:
            continue
        amount = 0
        for name, weight in terms:
            if name in whole:
                amount += weight * whole[name]
        if amount > 0:
            if counter == "audio_seconds":
                amount = max(amount, least_seconds * 1_000_000)
            parts[component] += amount * rate
    rounded: dict[str, int] = {component: _half_even(part) for component, part in parts.items()}
    largest = max(rounded, key=lambda component: rounded[component])
    rounded[largest] += _half_even(sum(parts.values())) - sum(rounded.values())
    return rounded


_TERMS = {meter.counter: (meter.component, tuple(CHARGED[meter.counter].items())) for meter in METERS}


def _half_even(amount: int) -> int:
    quotient, rest = divmod(amount, PICO)
    return quotient + (2 * rest > PICO or (2 * rest == PICO and quotient % 2 == 1))


def _holding(cells: Iterable[_Fast], at: int, size: int) -> _Fast:
    for fast in cells:
        if fast.box.holds(at, size):
            return fast
    raise AssertionError("the cells of a name cover all time and all sizes")


def _most(fast: _Fast, input_tokens: int, output_tokens: int) -> int | str:
    """Pico-dollars, rounded up, or why nobody knows."""
    if fast.cell.unpriced is not None:
        return fast.cell.unpriced
    if (input_tokens and fast.dearest_input is None) or (output_tokens and fast.dearest_output is None):
        return f"no rate for {'input' if fast.dearest_input is None else 'output'}_tokens"
    most = input_tokens * (fast.dearest_input or 0) + output_tokens * (fast.dearest_output or 0) + fast.request
    return -(-most // PICO)


def _fast(cell: Cell) -> _Fast:
    def dearest(counters: Iterable[str]) -> int | None:
        return max((grains(BY_COUNTER[c], cell.rates[c]) for c in counters if c in cell.rates), default=None)

    return _Fast(
        box=cell.box,
        cell=cell,
        rates={counter: grains(BY_COUNTER[counter], rate) for counter, rate in cell.rates.items()},
        dearest_input=dearest(["input_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"]),
        dearest_output=dearest(["output_tokens", "reasoning_tokens"]),
        request=dearest(["requests"]) or 0,
    )


def _usd(pico: int) -> Decimal:
    return Decimal(pico).scaleb(-12)
