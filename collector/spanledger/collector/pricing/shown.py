"""Prices as people read them: JSON with money as text, and rates in their own units."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from spanledger.collector.pricing.rules import form_of
from spanledger.prices.books.difference import Difference
from spanledger.prices.cell import ALL_WEEK, BEGINNING, DAY_MINUTES, FOREVER, UNBOUNDED, Box, Cell, microseconds, moment
from spanledger.prices.layers import Priced
from spanledger.prices.rule_form import rate_keys

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def shown_rule(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `price_rules`, without what is not set."""
    return {
        "id": row["id"],
        "scope": "",
        "provider": "*",
        "model": "*",
        **form_of(row),
        "author": row["author"],
        "created_at": row["created_at"],
        "supersedes": row["supersedes"],
        "superseded_at": row["superseded_at"],
        "state": _state(row),
    }


def shown_cells(priced: Priced, at: datetime | None = None) -> list[dict[str, Any]]:
    """The rates of a name, each with where it is in force; those of one moment when it is given."""
    cells = sorted(priced.cells, key=lambda cell: (cell.box.starts, cell.box.weekdays, cell.box.minute_from, cell.box.over))
    if at is not None:
        instant = microseconds(at)
        cells = [cell for cell in cells if cell.box.holds(instant, max(cell.box.over + 1, 0))]
    return [{**shown_box(cell.box), **_shown_cell(cell)} for cell in cells]


def shown_box(box: Box) -> dict[str, Any]:
    """A box, without the bounds that it does not have."""
    shown: dict[str, Any] = {}
    if box.starts > BEGINNING:
        shown["valid_from"] = moment(box.starts).isoformat()
    if box.ends < FOREVER:
        shown["valid_to"] = moment(box.ends).isoformat()
    if (box.minute_from, box.minute_to) != (0, DAY_MINUTES):
        shown["hours"] = "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (box.minute_from, box.minute_to))
    if box.weekdays != ALL_WEEK:
        shown["weekdays"] = ",".join(day for place, day in enumerate(_DAYS) if box.weekdays >> place & 1)
    if box.over >= 0:
        shown["over_tokens"] = box.over
    if box.upto < UNBOUNDED:
        shown["upto_tokens"] = box.upto
    return shown


def shown_difference(found: Difference) -> dict[str, Any]:
    """A difference; the large moves first. `waits` is what needs somebody to accept it."""
    moves = sorted(found.moves, key=lambda move: not move.large)
    return {
        "added": [f"{provider}/{model}" for provider, model in found.added],
        "removed": [f"{provider}/{model}" for provider, model in found.removed],
        "moved": [move.shown() for move in moves],
        "large": len(found.large),
        "vanished": [f"{provider}/{model}" for provider, model in found.vanished],
        "free": [f"{provider}/{model}" for provider, model in found.free],
        "waits": found.suspicious,
    }


def _shown_cell(cell: Cell) -> dict[str, Any]:
    if cell.unpriced is not None:
        return {"unpriced": cell.unpriced}
    shown: dict[str, Any] = {"rates": {"all": "0"} if cell.free else rate_keys(cell.own_rates())}
    if cell.flags:
        shown["flags"] = list(cell.flags)
    if cell.rules:
        shown["rules"] = list(cell.rules)
    if cell.estimated:
        shown["estimated"] = True
    return shown


def _state(row: Mapping[str, Any]) -> str:
    now = datetime.now(UTC)
    if row["superseded_at"] is not None:
        return "superseded"
    if row["valid_from"] is not None and row["valid_from"] > now:
        return "scheduled"
    return "ended" if row["valid_to"] is not None and row["valid_to"] <= now else "in force"
