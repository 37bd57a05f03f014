"""What one book says otherwise than another."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import product

from spanledger.prices.books.book import Book
from spanledger.prices.books.found import Found
from spanledger.prices.cell import BEGINNING, Cell, microseconds
from spanledger.prices.cell import moment as moment_of
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
    differs at another time than now. `large` is whether what is charged moves more than tenfold, to or from zero, or to no price
    at all: a part that loses its own rate is charged at its whole's."""

    provider: str
    model: str
    tier: str
    size: int
    rate_key: str
    was: Fraction | None
    now: Fraction | None
    large: bool
    since: datetime | None = None

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
    #: Those of `removed` that had a price, so that their calls would be unpriced.
    vanished: tuple[tuple[str, str], ...] = ()
    #: Those of `added` that cost nothing, and whose name does not say so.
    free: tuple[tuple[str, str], ...] = ()

    @property
    def large(self) -> tuple[Move, ...]:
        return tuple(move for move in self.moves if move.large)

    @property
    def suspicious(self) -> str:
        """What of it waits for somebody to say that it is right, in words; "" where nothing does."""
        words = {
            "rates that move more than tenfold or to or from zero": self.large,
            "models with a price that would have none": self.vanished,
            "new models that would cost nothing": self.free,
        }
        return ", ".join(f"{what}: {len(which)}" for what, which in words.items() if which)

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
        for move in _moves(_cells(old, key), _cells(new, key), key, moment)
    ]  # fmt: skip
    vanished = []
    for key in sorted(theirs - ours):
        # What has another name now, and is known by this one too, has not vanished.
        known = new.find(*key)
        if old is None or not _priced(_cells(old, key)):
            continue
        if known is None or known.rest:
            vanished.append(key)
        else:
            moves += _moves(_cells(old, key), _cells(new, (known.provider, known.model)), key, moment)
    return Difference(
        added=tuple(sorted(ours - theirs)), removed=tuple(sorted(theirs - ours)), moves=tuple(moves), vanished=tuple(vanished),
        free=tuple(key for key in sorted(ours - theirs) if _costs_nothing(_cells(new, key))) if old else (),
    )  # fmt: skip


_Cells = dict[str, tuple[Cell, ...]]


def _cells(book: Book, key: tuple[str, str]) -> _Cells:
    found = Found(provider=key[0], model=key[1], match="exact")
    return {tier: book.cells(found, tier) for tier in _TIERS}


def _priced(cells: _Cells) -> bool:
    return any(cell.unpriced is None for of_tier in cells.values() for cell in of_tier)


def _costs_nothing(cells: _Cells) -> bool:
    priced = [cell for of_tier in cells.values() for cell in of_tier if cell.unpriced is None]
    return bool(priced) and not any(cell.free or any(cell.rates.values()) for cell in priced)


def _moves(old: _Cells, new: _Cells, key: tuple[str, str], moment: int) -> Iterator[Move]:
    seen: set[tuple[object, ...]] = set()
    for tier in _TIERS:
        dates = sorted({cell.box.starts for cell in (*old[tier], *new[tier])} - {moment})
        for at, size in product([moment, *dates], _SIZES):
            was, now = _cell(old[tier], at, size), _cell(new[tier], at, size)
            was_own, now_own = was.own_rates(), now.own_rates()
            for meter in METERS:
                before, after = was_own.get(meter.counter), now_own.get(meter.counter)
                what = (tier, meter.counter, before, after)
                if before == after or what in seen:
                    continue
                seen.add(what)
                per = meter.per
                yield Move(
                    provider=key[0], model=key[1], tier=tier, size=size, rate_key=meter.rate_key,
                    was=None if before is None else before * per, now=None if after is None else after * per,
                    large=_large(was.rates.get(meter.counter), now.rates.get(meter.counter)),
                    since=None if at in (moment, BEGINNING) else moment_of(at),
                )  # fmt: skip


def _large(was: Fraction | None, now: Fraction | None) -> bool:
    if was is None:
        return now == 0
    if now is None:
        return True
    return max(was, now) > LARGE * min(was, now) if was and now else was != now


def _cell(cells: tuple[Cell, ...], moment: int, size: int) -> Cell:
    found = next((cell for cell in cells if cell.box.holds(moment, size)), None)
    return _NOTHING if found is None or found.unpriced is not None else found


_NOTHING = Cell(unpriced="no price")
