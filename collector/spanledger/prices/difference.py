"""What one book says otherwise than another."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import product

from spanledger.prices.book import Book
from spanledger.prices.cell import BEGINNING, Cell, microseconds
from spanledger.prices.cell import moment as moment_of
from spanledger.prices.found import Found
from spanledger.prices.meters import METERS
from spanledger.prices.rule_form import text_of
from spanledger.prices.tiers import BATCH, STANDARD

#: A rate that moves by more than this is taken for a mistake until somebody says that it is none.
LARGE = 10

_TIERS = (STANDARD, BATCH, "flex", "priority", "fast")
_SIZES = (0, 150_000, 250_000, 300_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One rate that differs, in USD per unit of its `rate_key`; None where a book has none. `since` is from when on, where it
    differs at another time than now."""

    provider: str
    model: str
    tier: str
    size: int
    rate_key: str
    was: Fraction | None
    now: Fraction | None
    since: datetime | None = None

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
            "large": self.large, **({} if self.since is None else {"since": self.since.isoformat()}),
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

    def __str__(self) -> str:
        return f"{len(self.added)} models more, {len(self.removed)} fewer, {len(self.moves)} rates moved"


def difference(old: Book | None, new: Book, at: datetime | None = None) -> Difference:
    """How `new` differs from `old` for calls at a moment (now by default) and from every later or earlier date of either on, in
    every tier and at four sizes."""
    moment = microseconds(at or datetime.now(UTC))
    theirs, ours = set(old.listed() if old else ()), set(new.listed())
    both = [key for key in new.listed() if key in theirs]
    moves = [
        move for key in both if old is not None and old.says(*key) != new.says(*key)
        for move in _moves(old, new, *key, moment)
    ]  # fmt: skip
    return Difference(added=tuple(sorted(ours - theirs)), removed=tuple(sorted(theirs - ours)), moves=tuple(moves))


def _moves(old: Book, new: Book, provider: str, model: str, moment: int) -> Iterator[Move]:
    found = Found(provider=provider, model=model, match="exact")
    seen: set[tuple[object, ...]] = set()
    for tier in _TIERS:
        was_cells, now_cells = old.cells(found, tier), new.cells(found, tier)
        dates = sorted({cell.box.starts for cell in (*was_cells, *now_cells)} - {moment})
        for at, size in product([moment, *dates], _SIZES):
            was, now = _rates(was_cells, at, size), _rates(now_cells, at, size)
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
                    since=None if at in (moment, BEGINNING) else moment_of(at),
                )  # fmt: skip


def _rates(cells: tuple[Cell, ...], moment: int, size: int) -> dict[str, Fraction]:
    cell = next((cell for cell in cells if cell.box.holds(moment, size)), None)
    return {} if cell is None or cell.unpriced is not None else cell.own_rates()
