"""The most that one call can cost, in microseconds: for holds."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from spanledger.prices.cell import Cell
from spanledger.prices.layers import Layers, Name, Priced
from spanledger.prices.meters import BY_COUNTER
from spanledger.prices.tables import PICO, grains

MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dearest:
    """A cell, and the dearest of its rates in grains."""

    cell: Cell
    input: int | None
    output: int | None
    request: int


class Most:
    """The most a call can cost under one state of books and rules; what a name resolves to is kept for the names in use."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self._names: dict[Name, tuple[Priced, tuple[_Dearest, ...]]] = {}
        self._cells: dict[Hashable, tuple[_Dearest, ...]] = {}

    def most(self, name: Callable[[], Name], known_as: Hashable, at: int, input_tokens: int, output_tokens: int) -> int | str:
        """Whole pico-dollars, rounded up, or why nobody knows: all input at the dearest of fresh and cache write, all output at
        the dearest of output and reasoning. `at` is in microseconds since 1970. It is asked for every check, so a name is made
        once for what it is known as."""
        cells = self._cells.get(known_as)
        if cells is None:
            if len(self._cells) >= MOST_NAMES:
                self._cells.clear()
            cells = self._cells[known_as] = self._of(name())[1]
        for dearest in cells:
            if dearest.cell.box.holds(at, input_tokens):
                return _most(dearest, input_tokens, output_tokens)
        raise AssertionError("the cells of a name cover all time and all sizes")

    def priced(self, name: Name) -> Priced:
        return self._of(name)[0]

    def _of(self, name: Name) -> tuple[Priced, tuple[_Dearest, ...]]:
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            priced = self.layers.priced(name)
            known = self._names[name] = priced, tuple(_dearest(cell) for cell in priced.cells)
        return known


def _most(dearest: _Dearest, input_tokens: int, output_tokens: int) -> int | str:
    if dearest.cell.unpriced is not None:
        return dearest.cell.unpriced
    # As in the ledger, a part without a rate leaves the price of the rest: embeddings have no output, whatever the check says.
    lacking = [name for name, tokens, rate in (("input_tokens", input_tokens, dearest.input),
               ("output_tokens", output_tokens, dearest.output)) if tokens and rate is None]  # fmt: skip
    if lacking and len(lacking) == (input_tokens > 0) + (output_tokens > 0) and not dearest.request:
        return f"no rate for {', '.join(lacking)}"
    most = input_tokens * (dearest.input or 0) + output_tokens * (dearest.output or 0) + dearest.request
    return -(-most // PICO)


def _dearest(cell: Cell) -> _Dearest:
    def of(counters: Iterable[str]) -> int | None:
        return max((grains(BY_COUNTER[c], cell.rates[c]) for c in counters if c in cell.rates), default=None)

    return _Dearest(
        cell=cell,
        input=of(["input_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"]),
        output=of(["output_tokens", "reasoning_tokens"]),
        request=of(["requests"]) or 0,
    )
