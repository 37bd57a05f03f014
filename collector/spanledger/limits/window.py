"""The time over which a limit counts: which window a moment falls into, and when that window ends.

Moments are integers, microseconds since 1970 in UTC. A calendar's days and hours are those of an IANA zone, so that a
day may have 23 or 25 hours; windows follow each other without gap or overlap through every change of the clocks.
A rolling window counts in slots of a 120th of its length (a second at least): what is counted is never
younger than the window and at most one slot older.
"""

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from spanledger.limits.errors import LimitError

SECOND = 1_000_000
FOREVER = 2**62  # after any datetime
SLOTS = 120
Unit = Literal["hour", "day", "week", "month", "quarter", "year"]
UNITS: tuple[str, ...] = get_args(Unit)
#: What may move the start of each.
ANCHORS: dict[str, tuple[str, ...]] = {
    "hour": (),
    "day": ("anchor_hour",),
    "week": ("anchor_hour", "week_start"),
    "month": ("anchor_hour", "anchor_day"),
    "quarter": ("anchor_hour", "anchor_day", "anchor_month"),
    "year": ("anchor_hour", "anchor_day", "anchor_month"),
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 3_660 * 86_400


def micros(at: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """Microseconds since 1970 as an aware datetime; what lies beyond year 9999 is its end."""
    try:
        return EPOCH + timedelta(microseconds=at)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """The last `seconds`, at every moment anew."""

    seconds: int

    @property
    def slot_us(self) -> int:
        return max(1, math.ceil(self.seconds / SLOTS)) * SECOND

    def span(self, at: int) -> tuple[int, int]:
        """From the start of the oldest slot that counts at `at`, to the moment after `at`'s slot."""
        slot = self.slot_us
        return (at - self.seconds * SECOND) // slot * slot, (at // slot + 1) * slot

    def fields(self) -> dict[str, Any]:
        return {"kind": "rolling", "seconds": self.seconds}

    def __str__(self) -> str:
        for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
            if self.seconds % size == 0:
                count = self.seconds // size
                return f"any {name}" if count == 1 else f"any {count} {name}s"
        return f"any {self.seconds} seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """For ever: it never renews. With `per` session or trace it is the life of that."""

    def span(self, at: int) -> tuple[int, int]:
        return 0, FOREVER

    def fields(self) -> dict[str, Any]:
        return {"kind": "lifetime"}

    def __str__(self) -> str:
        return "lifetime"


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """An hour, day, week, month, quarter or year of `zone`.

    `anchor_hour` moves the start of a day (and of all that is made of days), `week_start` that of a week, `anchor_day`
    that of a month (a shorter month starts on its last day), `anchor_month` that of a quarter or year.
    """

    unit: Unit
    zone: str = "UTC"
    anchor_hour: int = 0
    week_start: int = 0
    anchor_day: int = 1
    anchor_month: int = 1
    _info: ZoneInfo = field(init=False, repr=False, compare=False)
    _starts: list[tuple[int, int]] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_info", ZoneInfo(self.zone))

    def span(self, at: int) -> tuple[int, int]:
        """Start and end of the window that `at` falls into, the end exclusive."""
        starts = self._starts
        place = bisect.bisect_right(starts, (at, FOREVER)) - 1
        if place >= 0 and starts[place][0] <= at < starts[place][1]:
            return starts[place]
        found = self._hour(at) if self.unit == "hour" else self._days(at)
        if len(starts) > 500:  # late entries visit old windows; nobody needs all of them kept
            starts.clear()
        bisect.insort(starts, found)
        return found

    def fields(self) -> dict[str, Any]:
        anchors: dict[str, Any] = {
            "anchor_hour": self.anchor_hour or None,
            "week_start": WEEKDAYS[self.week_start],
            "anchor_day": None if self.anchor_day == 1 else self.anchor_day,
            "anchor_month": None if self.anchor_month == 1 else self.anchor_month,
        }
        given = {name: anchors[name] for name in ANCHORS[self.unit] if anchors[name] is not None}
        return {"kind": "calendar", "unit": self.unit, "zone": self.zone, **given}

    def __str__(self) -> str:
        return f"calendar {self.unit}" + ("" if self.zone == "UTC" else f" in {self.zone}")

    def _hour(self, at: int) -> tuple[int, int]:
        zone = self._info
        second = at // SECOND
        offset = _offset(zone, second)
        start = (second + offset) // 3_600 * 3_600 - offset
        end = start + 3_600
        # Lord Howe's clocks move by half an hour: the hour in which they do is cut there, or two windows would overlap.
        if _offset(zone, start) != offset:
            start = _transition(zone, start, second)
        if _offset(zone, end - 1) != offset:
            end = _transition(zone, second, end - 1)
        return start * SECOND, end * SECOND

    def _days(self, at: int) -> tuple[int, int]:
        zone = self._info
        local = moment(at).astimezone(zone)
        first = self._first_day(local.date())
        # The local date may be a day off where an anchor hour or a skipped midnight lies between.
        while self._begin(first) > at:
            first = self._first_day(first - timedelta(days=1))
        after = self._next(first)
        while self._begin(after) <= at:
            first, after = after, self._next(after)
        return self._begin(first), self._begin(after)

    def _begin(self, day: date) -> int:
        zone = self._info
        # A midnight that the clocks skip becomes the first moment after the skip; one that comes twice, the first.
        return micros(datetime(day.year, day.month, day.day, self.anchor_hour, tzinfo=zone).astimezone(UTC))

    def _first_day(self, day: date) -> date:
        match self.unit:
            case "week":
                return day - timedelta(days=(day.weekday() - self.week_start) % 7)
            case "month" | "quarter" | "year":
                step = self._months
                months = day.year * 12 + day.month - 1
                first = months - (months - (self.anchor_month - 1)) % step
                if self._anchored(first) > day:
                    first -= step
                return self._anchored(first)
            case _:
                return day

    def _next(self, first: date) -> date:
        match self.unit:
            case "week":
                return first + timedelta(days=7)
            case "month" | "quarter" | "year":
                return self._anchored(first.year * 12 + first.month - 1 + self._months)
            case _:
                return first + timedelta(days=1)

    @property
    def _months(self) -> int:
        return {"month": 1, "quarter": 3, "year": 12}[self.unit]

    def _anchored(self, months: int) -> date:
        year, month = divmod(months, 12)
        last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
        return date(year, month + 1, min(self.anchor_day, last))


Window = Rolling | Calendar | Lifetime


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _transition(zone: ZoneInfo, low: int, high: int) -> int:
    """The first second after `low` with the offset of `high`."""
    wanted = _offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(zone, middle) == wanted else (middle, high)
    return high


def window_of(given: Any) -> Window:
    """The window that `given` describes: `{"kind": …}`, or short `"day"`, `"rolling 1h"`, `"lifetime"`.

    Raises `LimitError` naming the field.
    """
    fields = _short(given) if isinstance(given, str) else given
    if not isinstance(fields, Mapping):
        raise LimitError(
            "window", 'must be like {"kind": "calendar", "unit": "month"}, {"kind": "rolling", "seconds": 3600} or "day"'
        )
    match fields.get("kind"):
        case "rolling":
            _only(fields, "kind", "seconds")
            return Rolling(seconds=_whole(fields, "seconds", None, 1, LONGEST))
        case "lifetime":
            _only(fields, "kind")
            return Lifetime()
        case "calendar":
            return _calendar(fields)
        case other:
            raise LimitError("window.kind", f"must be rolling, calendar or lifetime, not {other!r}")


def _calendar(fields: Mapping[str, Any]) -> Calendar:
    unit = fields.get("unit")
    if unit not in UNITS:
        raise LimitError("window.unit", f"must be one of {', '.join(UNITS)}, not {unit!r}")
    _only(fields, "kind", "unit", "zone", *ANCHORS[unit], of=f"calendar {unit}")
    zone = fields.get("zone", "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise LimitError("window.zone", f"{zone!r} is not an IANA time zone such as Europe/Berlin") from None
    week_start = fields.get("week_start", "monday")
    if week_start not in WEEKDAYS:
        raise LimitError("window.week_start", f"must be a day of the week such as monday, not {week_start!r}")
    return Calendar(
        unit=unit,
        zone=zone,
        anchor_hour=_whole(fields, "anchor_hour", 0, 0, 23),
        week_start=WEEKDAYS.index(week_start),
        anchor_day=_whole(fields, "anchor_day", 1, 1, 31),
        anchor_month=_whole(fields, "anchor_month", 1, 1, 12),
    )


def _short(text: str) -> dict[str, Any]:
    if text in UNITS:
        return {"kind": "calendar", "unit": text}
    if text == "lifetime":
        return {"kind": "lifetime"}
    count, size = text.removeprefix("rolling ").strip()[:-1], text[-1:]
    if text.startswith("rolling ") and count.isascii() and count.isdigit() and size in "smhd":
        return {"kind": "rolling", "seconds": int(count) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[size]}
    raise LimitError("window", f'must be like "day", "month", "rolling 1h" or "lifetime", not {text!r}')


def _only(fields: Mapping[str, Any], *known: str, of: str | None = None) -> None:
    for name in fields:
        if name not in known:
            raise LimitError(f"window.{name}", f"is not a setting of a {of or fields['kind']} window (known: {', '.join(known)})")


def _whole(fields: Mapping[str, Any], name: str, default: int | None, low: int, high: int) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise LimitError(f"window.{name}", f"must be a whole number from {low} to {high}, not {value!r}")
    return value
