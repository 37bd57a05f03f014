"""Asks the running collector how full its limits are: only it knows what is held right now."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_PATIENCE_SECONDS = 2.0


class CollectorAway(Exception):
    """The API did not answer as expected; the text says what was tried and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """A limit and how full its fullest bucket is."""

    name: str
    measure: str
    amount: Decimal
    used: Decimal
    held: Decimal
    hard: bool
    enabled: bool
    window: str
    covers: str
    window_end: datetime | None

    @property
    def in_money(self) -> bool:
        return self.measure == "cost_usd"

    @property
    def fraction(self) -> float:
        """Used and held over the amount; 1 for a limit of nothing."""
        return float((self.used + self.held) / self.amount) if self.amount > 0 else 1.0


def read_limits(api: str) -> list[LimitState]:
    """All limits, fullest first; asked with the key in `SPANLEDGER_API_KEY` if there is one. Raises `CollectorAway`."""
    url = f"{api.rstrip('/')}/api/limits"
    if not url.startswith(("http://", "https://")):
        raise CollectorAway(f"The address of the collector's API is no http address: {api}")
    key = os.environ.get("SPANLEDGER_API_KEY")
    asked = Request(url, headers={"authorization": f"Bearer {key}"} if key else {})  # noqa: S310 - the scheme is checked above
    try:
        with urlopen(asked, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310 - the same
            body = json.load(answer)
        limits = [_limit(row) for row in body["limits"]]
    except HTTPError as error:
        if error.code in (401, 403):
            raise CollectorAway(
                f"The API at {api} wants a key: start the dashboard with one of role read in SPANLEDGER_API_KEY."
            ) from error
        raise CollectorAway(f"The API at {api} answers with {error.code} ({error.reason}).") from error
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise CollectorAway(f"The collector does not answer at {api} ({reason}). Start it with: spanledger up") from error
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        raise CollectorAway(f"What answers at {api} is not Spanledger's API ({type(error).__name__}).") from error
    if any(row.get("counters_away") for row in body["limits"]):
        raise CollectorAway("The limits' counters in Redis cannot be read now, so nobody knows how full limits are.")
    return sorted(limits, key=lambda limit: (-limit.fraction, limit.name))


def api_of(data: Path, api: str) -> str:
    """The API's address: the one given, else where the collector over this data folder says it listens."""
    if api:
        return api
    try:
        address = json.loads((data / "addresses.json").read_text()).get("api", "")
    except (OSError, ValueError, AttributeError):
        address = ""
    if not isinstance(address, str) or not address:
        return "http://127.0.0.1:4380"
    return address if "://" in address else f"http://{address}"


def _limit(row: dict[str, Any]) -> LimitState:
    return LimitState(
        name=str(row["name"]),
        measure=str(row["measure"]),
        amount=Decimal(row["amount"]),
        used=Decimal(row.get("used") or 0),
        held=Decimal(row.get("held") or 0),
        hard=bool(row["hard"]),
        enabled=bool(row.get("enabled", True)),
        window=_window(row["window"]),
        covers=_covers(row),
        window_end=datetime.fromisoformat(row["window_end"]).astimezone(UTC) if row.get("window_end") else None,
    )


def _window(window: dict[str, Any]) -> str:
    match window:
        case {"kind": "calendar", "unit": unit}:
            zone = window.get("zone", "UTC")
            return f"a {unit}" if zone == "UTC" else f"a {unit} ({zone})"
        case {"kind": "rolling", "seconds": seconds}:
            return f"in any {_span(int(seconds))}"
        case _:
            return "in all"


def _span(seconds: int) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % size == 0:
            number = seconds // size
            return unit if number == 1 else f"{number} {unit}s"
    return f"{seconds} seconds"


def _covers(row: dict[str, Any]) -> str:
    wanted = [f"{name} {' or '.join(map(str, values))}" for name, values in (row.get("selectors") or {}).items()]
    each = [f"per {name}" for name in row.get("per") or []]
    buckets: list[dict[str, Any]] = row.get("buckets") or []
    fullest: dict[str, Any] = buckets[0].get("subject") or {} if buckets else {}
    at = [f"fullest: {', '.join(map(str, fullest.values()))}"] if each and fullest else []
    return " · ".join([*wanted, *each, *at]) or "every call"
