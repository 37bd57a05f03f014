"""What a month will have cost at its end, from the days behind it, and how far such projections have been off.

The method is plain enough to be checked by hand: every day to come costs what such days cost lately. With four weeks of
full days "such days" are those of the same weekday, before that all of them. What today may still bring is what
came after this time of day on those days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

#: Days the mean is taken over: four of each weekday.
LATELY = 28
#: Full days before a past projection is counted as a trial.
WARM_UP = 7
#: Trials before an interval is shown; fewer say little about an eighth in ten.
ENOUGH_TRIALS = 10
#: Full days that are looked at: the mean's own, and eight weeks of trials before them.
HISTORY = 84


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One full day: what it cost, and how much of that came after the time of day it is now."""

    day: date
    cost_usd: Decimal
    later_cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What the month will have cost.

    `low_usd` and `high_usd` hold eight in ten of the outcomes of `trials` earlier projections over as many days, made by
    the same method; null when there are too few. `full_days` is what the method had to go by.
    """

    cost_usd: Decimal
    low_usd: Decimal | None
    high_usd: Decimal | None
    trials: int
    full_days: int
    by_weekday: bool

    @property
    def method(self) -> str:
        """How it was made, for people."""
        days = "1 full day" if self.full_days == 1 else f"last {self.full_days} full days"
        mean = f"Mean of the {days}" + (" by weekday" if self.by_weekday else "")
        if self.low_usd is None:
            return f"{mean}. Too little history for an interval."
        return f"{mean}. 8 in 10 of {self.trials} earlier projections would have landed in the interval."


def full_days(days: Sequence[Day], *, since: date, today: date) -> list[Day]:
    """The days without a gap from the first that has entries up to yesterday; a day without entries cost nothing.

    The very first day is left out when it is not `since`: the ledger began somewhere in it, so it is no full day.
    """
    known = {day.day: day for day in days if since <= day.day < today}
    if not known:
        return []
    first = min(known)
    if first > since:
        first += timedelta(days=1)
    nothing = Decimal(0)
    return [
        known.get(day, Day(day=day, cost_usd=nothing, later_cost_usd=nothing))
        for day in (first + timedelta(days=i) for i in range((today - first).days))
    ]


def daily_average(history: Sequence[Day]) -> Decimal | None:
    """The mean of the last full days, four weeks at most."""
    lately = history[-LATELY:]
    return _mean([day.cost_usd for day in lately]) if lately else None


def usual_by_now(history: Sequence[Day], today: date) -> Decimal | None:
    """What such a day has usually cost by this time of day."""
    such = _such_days(history[-LATELY:], today)
    return _mean([day.cost_usd - day.later_cost_usd for day in such]) if such else None


def project(history: Sequence[Day], *, today: date, month_to_date_usd: Decimal) -> Projection | None:
    """What the month of `today` will have cost at its end; null without a single full day to go by."""
    if not history:
        return None
    ahead = _days_left(today)
    remaining = _expected(history, today, ahead)
    ratios = sorted(_trials(history, ahead))
    low = high = None
    if len(ratios) >= ENOUGH_TRIALS:
        low = month_to_date_usd + remaining * _quantile(ratios, Decimal("0.1"))
        high = month_to_date_usd + remaining * _quantile(ratios, Decimal("0.9"))
    return Projection(
        cost_usd=month_to_date_usd + remaining,
        low_usd=low,
        high_usd=high,
        trials=len(ratios),
        full_days=min(len(history), LATELY),
        by_weekday=len(history) >= LATELY,
    )


def _expected(history: Sequence[Day], today: date, ahead: int) -> Decimal:
    """What is expected from this time of `today` to the end of the day `ahead` days on."""
    lately = history[-LATELY:]
    rest_of_today = _mean([day.later_cost_usd for day in _such_days(lately, today)])
    to_come = (today + timedelta(days=i + 1) for i in range(ahead))
    return rest_of_today + sum((_mean([d.cost_usd for d in _such_days(lately, day)]) for day in to_come), Decimal(0))


def _trials(history: Sequence[Day], ahead: int) -> list[Decimal]:
    """What came, over what would have been projected, for every earlier day that has enough before and after it."""
    ratios = []
    for i in range(WARM_UP, len(history) - ahead):
        projected = _expected(history[:i], history[i].day, ahead)
        if projected > 0:
            came = history[i].later_cost_usd + sum((day.cost_usd for day in history[i + 1 : i + 1 + ahead]), Decimal(0))
            ratios.append(came / projected)
    return ratios


def _such_days(lately: Sequence[Day], day: date) -> Sequence[Day]:
    if len(lately) < LATELY:
        return lately
    return [past for past in lately if past.day.weekday() == day.weekday()]


def _days_left(today: date) -> int:
    next_month = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (next_month - today).days - 1


def _mean(amounts: Sequence[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0)) / len(amounts)


def _quantile(ordered: Sequence[Decimal], share: Decimal) -> Decimal:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
