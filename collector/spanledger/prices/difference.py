"""What one book says otherwise than another."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from spanledger.prices.book import Book, Found
from spanledger.prices.cell import Cell, microseconds
from spanledger.prices.meters import METERS
from spanledger.prices.rule_form import text_of
from spanledger.prices.tiers import BATCH, STANDARD

#: A rate that moves by more than this is taken for a mistake until somebody says that it is none.
LARGE = 10

_TIERS = (STANDARD, BATCH, "flex", "priority", "fast")
_SIZES = (0, 150_000, 250_000, 300_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One rate that differs, in USD per unit of its `rate_key`; None where a book has none."""

    provider: str
    model: str
    tier: str
    size: int
    rate_key: str
    was: Fraction | None
    now: Fraction | None

    @property
    def large(self) -> bool:
        """Whether it moves more than tenfold, or to or from zero."""
        if self.was is None or self.now is None:
            return False
        if not self.was or not self.now:
            return self.was != self.now
        return max(self.was, self.now) > LARGE * min(self.was, self.now)

    def shown(self) -> dict[str, object]:
        """As text, for JSON and tables."""
        return {
            "provider": self.provider, "model": self.model, "tier": self.tier, "over_tokens": self.size, "unit": self.rate_key,
            "was": None if self.was is None else text_of(self.was), "now": None if self.now is None else text_of(self.now),
            "large": self.large,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Models that only one of two books has, and rates that differ for the same moment."""

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    moves: tuple[Move, ...]

    @property
    def large(self) -> tuple[Move, ...]:
        return tuple(move for move in self.moves if move.large)


def difference(old: Book | None, new: Book, at: datetime | None = None) -> Difference:
    """How `new` differs from `old` for calls at a moment (now by default), in every tier and at four sizes."""
    moment = microseconds(at or datetime.now(UTC))
    theirs, ours = set(old.listed() if old else ()), set(new.listed())
    both = [key for key in new.listed() if key in theirs]
    moves = [move for provider, model in both if old for move in _moves(old, new, provider, model, moment)]
    return Difference(added=tuple(sorted(ours - theirs)), removed=tuple(sorted(theirs - ours)), moves=tuple(moves))


def _moves(old: Book, new: Book, provider: str, model: str, moment: int) -> Iterator[Move]:
    found = Found(provider=provider, model=model, match="exact")
    seen: set[tuple[object, ...]] = set()
    for tier in _TIERS:
        was_cells, now_cells = old.cells(found, tier), new.cells(found, tier)
        for size in _SIZES:
            was, now = _rates(was_cells, moment, size), _rates(now_cells, moment, size)
            for meter in METERS:
                before, after = was.get(meter.counter), now.get(meter.counter)
                what = (tier, meter.counter, before, after)
                if before == after or what in seen:
                    continue
                seen.add(what)
                per = meter.per
                yield Move(
                    provider=provider, model=model, tier=tier, size=size, rate_key=meter.rate_key,
                    was=None if before is None else before * per, now=None if after is None else after * per,
                )  # fmt: skip


def _rates(cells: tuple[Cell, ...], moment: int, size: int) -> dict[str, Fraction]:
    cell = next((cell for cell in cells if cell.box.holds(moment, size)), None)
    return {} if cell is None or cell.unpriced is not None else cell.own_rates()
