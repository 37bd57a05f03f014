"""A limit: whom it covers, what it counts, over which window, up to what, and what happens past it.

`Limit.of(fields)` reads the JSON form (configuration, API) and names the field that is wrong; `fields()` gives it back.
Amounts are whole numbers of the measure's smallest unit inside: 10⁻¹² USD, a token, a request; so sums are exact.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from spanledger.limits.errors import LimitError
from spanledger.limits.selector import per_of, selectors_of
from spanledger.limits.window import Calendar, Window, window_of

Measure = Literal["cost_usd", "tokens", "input_tokens", "output_tokens", "requests"]
Action = Literal["refuse", "pause", "warn", "shadow"]
Unpriced = Literal["allow", "ceiling", "refuse"]
FailMode = Literal["open", "closed"]
HoldSize = Literal["worst_case", "learned", "fixed"]
MEASURES: tuple[str, ...] = get_args(Measure)

#: The ledger keeps money as decimal(20, 12): one unit of a cost counter is its last digit.
USD = 10**12
LARGEST = Decimal(10**15)
#: Written out, 1e-999999999 would be a text of a gigabyte.
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,60})?|\.\d{1,60})([eE][+-]?\d{1,3})?", re.ASCII)


def units_of(measure: str, amount: Decimal) -> int:
    """An amount of a measure in whole units."""
    return int((amount * USD).to_integral_value()) if measure == "cost_usd" else int(amount)


def amount_of(measure: str, units: int) -> Decimal:
    """Whole units as an amount of the measure."""
    return (Decimal(units).scaleb(-12) if measure == "cost_usd" else Decimal(units)).normalize() + 0


def text_of(measure: str, units: int) -> str:
    """Whole units as the API writes them: a string, never in exponents."""
    return format(amount_of(measure, units), "f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit. What stands below `created_at` follows from the rest; checks would lose time working it out."""

    id: str
    name: str
    measure: Measure
    amount: Decimal
    window: Window
    selectors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    per: tuple[str, ...] = ()
    hard: bool = True
    enabled: bool = True
    action: Action = "refuse"
    grace: Decimal = Decimal(0)  # share of the amount
    thresholds: tuple[Decimal, ...] = (Decimal("0.8"), Decimal(1))
    pause_at: Decimal = Decimal("1.1")
    unpriced: Unpriced = "allow"
    ceiling_usd_per_mtok: Decimal | None = None
    on_failure: FailMode = "open"
    hold: HoldSize = "worst_case"
    quantile: Decimal = Decimal("0.95")
    hold_amount: Decimal | None = None
    overshoot: Decimal | None = None  # in the measure
    rollover: Decimal = Decimal(0)  # share of the amount that may be carried over
    tier: str | None = None
    description: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    source: str = "api"
    created_at: datetime | None = field(default=None, compare=False)
    cap: int = field(init=False, compare=False)  # the amount in units
    stop: int = field(init=False, compare=False)  # the same with its grace
    first_threshold: int | None = field(init=False, compare=False)  # units from which on checks warn
    refuses: bool = field(init=False, compare=False)  # whether a call past it is refused
    measured: int = field(init=False, compare=False)  # the place of the measure in MEASURES

    def __post_init__(self) -> None:
        object.__setattr__(self, "cap", units_of(self.measure, self.amount))
        object.__setattr__(self, "stop", units_of(self.measure, self.amount * (1 + self.grace)))
        first = min(self.thresholds, default=None)
        object.__setattr__(self, "first_threshold", None if first is None else math.ceil(self.cap * first))
        object.__setattr__(self, "refuses", self.hard and self.action in ("refuse", "pause"))
        object.__setattr__(self, "measured", MEASURES.index(self.measure))

    @property
    def overshoot_bound(self) -> Decimal:
        """How far calls that were let through can pass the amount at most, in its measure.

        A hold of the worst case cannot be passed; with smaller holds a check also adds up the worst case of all calls in
        flight, and refuses what could go further than this: a tenth of the amount unless the limit says otherwise.
        """
        if self.overshoot is not None:
            return self.overshoot
        if self.hold == "worst_case":
            return Decimal(0)
        return self.amount / 10 if self.measure == "cost_usd" else self.amount // 10

    @staticmethod
    def of(given: Mapping[str, Any], *, limit_id: str, source: str = "api", created_at: datetime | None = None) -> "Limit":
        """The limit that `given` describes. Raises `LimitError` naming the first field that is wrong."""
        for name in given:
            if name not in READERS:
                raise LimitError(name, f"is not a field of a limit (known: {', '.join(READERS)})")
        for name in ("name", "measure", "amount", "window"):
            if given.get(name) is None:
                raise LimitError(name, "is required")
        fields = {name: READERS[name](name, value) for name, value in given.items() if value is not None}
        if "action" not in fields:
            fields["action"] = "refuse" if fields.get("hard", True) else "warn"
        limit = Limit(id=limit_id, source=source, created_at=created_at, **fields)
        _agree(limit)
        return limit

    def fields(self) -> dict[str, Any]:
        """The JSON form, with every setting; numbers that may have a fraction are strings."""
        written: dict[str, Any] = {}
        for name in READERS:
            value = getattr(self, name)
            if name == "window":
                value = self.window.fields()
            elif name == "selectors":
                value = {key: list(patterns) for key, patterns in self.selectors.items()}
            elif isinstance(value, tuple):
                value = [_plain(v) for v in value]
            written[name] = _plain(value)
        return written


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize() + 0, "f")
    return value.isoformat() if isinstance(value, datetime) else value


def _agree(limit: Limit) -> None:
    """What no field can say alone."""
    if limit.measure != "cost_usd" and limit.amount != limit.amount.to_integral_value():
        raise LimitError("amount", f"must be a whole number of {limit.measure}, not {limit.amount}")
    if not limit.hard and limit.action in ("refuse", "pause"):
        raise LimitError("action", f"{limit.action} needs a hard limit: set hard to true, or action to warn or shadow")
    if limit.unpriced == "ceiling" and limit.ceiling_usd_per_mtok is None:
        raise LimitError("ceiling_usd_per_mtok", "is required when unpriced is ceiling")
    if limit.hold == "fixed" and limit.hold_amount is None:
        raise LimitError("hold_amount", "is required when hold is fixed")
    if limit.rollover and not isinstance(limit.window, Calendar):
        raise LimitError("rollover", "needs a calendar window: only there is something left at a window's end")
    if limit.valid_from and limit.valid_to and limit.valid_from >= limit.valid_to:
        raise LimitError("valid_to", "must be later than valid_from")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 200 or "\0" in value:
        raise LimitError(name, "must be a text of 1 to 200 characters, none of them NUL")
    return value


def _one_of(*known: str) -> Any:
    def read(name: str, value: Any) -> str:
        if value not in known:
            raise LimitError(name, f"must be one of {', '.join(known)}, not {value!r}")
        return str(value)

    return read


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise LimitError(name, f"must be true or false, not {value!r}")
    return value


def _decimal(name: str, value: Any) -> Decimal:
    """A number given as a string or a number. Raises `LimitError` naming `name`."""
    written = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal) or not _NUMBER.fullmatch(written):
        raise LimitError(name, f'must be a number such as "5.00", not {value!r}')
    return Decimal(written)


def between(low: Decimal, high: Decimal, *, above: bool = False) -> Callable[[str, Any], Decimal]:
    """What reads a number from `low` (or `above` it) to `high`, and raises `LimitError` for any other."""

    def read(name: str, value: Any) -> Decimal:
        number = _decimal(name, value)
        if number < low or number > high or (above and number == low):
            raise LimitError(name, f"must be {'more than' if above else 'at least'} {low:f} and at most {high:f}, not {value}")
        if number.normalize().as_tuple().exponent < -12:  # type: ignore[operator]
            raise LimitError(name, "may have twelve digits after the point, as money in the ledger has")
        return number

    return read


def _thresholds(name: str, value: Any) -> tuple[Decimal, ...]:
    if not isinstance(value, list | tuple):
        raise LimitError(name, "must be a list of shares such as [0.8, 1]")
    return tuple(sorted({between(Decimal(0), Decimal(10), above=True)(name, share) for share in value}))


def moment_of(name: str, value: Any) -> datetime:
    """An ISO 8601 moment with its offset, as UTC. Raises `LimitError` naming `name`."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise LimitError(name, f"must be a moment such as 2026-11-25T00:00:00Z, not {value!r}") from None
    if at.tzinfo is None:
        raise LimitError(name, f"needs an offset or Z: {value}")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise LimitError(name, f"is beyond the years 1 to 9999 in UTC: {value}") from None


#: Field of the JSON form → what reads it. The order is the order in which the API shows them.
READERS: dict[str, Any] = {
    "name": _text,
    "description": _text,
    "selectors": lambda _, value: selectors_of(value),
    "per": lambda _, value: per_of(value),
    "measure": _one_of(*MEASURES),
    "amount": between(Decimal(0), LARGEST),
    "window": lambda _, value: window_of(value),
    "hard": _flag,
    "enabled": _flag,
    "action": _one_of(*get_args(Action)),
    "grace": between(Decimal(0), Decimal(10)),
    "thresholds": _thresholds,
    "pause_at": between(Decimal(0), Decimal(100), above=True),
    "unpriced": _one_of(*get_args(Unpriced)),
    "ceiling_usd_per_mtok": between(Decimal(0), Decimal(10**6), above=True),
    "on_failure": _one_of(*get_args(FailMode)),
    "hold": _one_of(*get_args(HoldSize)),
    "quantile": between(Decimal(0), Decimal(1), above=True),
    "hold_amount": between(Decimal(0), LARGEST),
    "overshoot": between(Decimal(0), LARGEST),
    "rollover": between(Decimal(0), Decimal(10)),
    "tier": _text,
    "valid_from": moment_of,
    "valid_to": moment_of,
}
