"""What a visitor asks for: a range of time and wanted values of dimensions, chosen on the page."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import streamlit as st

from spanledger.analytics import Selection, spend_by

Range = Literal["Today", "7 days", "30 days", "90 days", "This month", "Custom"]
RANGES: tuple[Range, ...] = ("Today", "7 days", "30 days", "This month", "90 days", "Custom")

#: The dimensions offered as filters and for grouping, as people read them.
OFFERED: dict[str, str] = {
    "model": "Model",
    "provider": "Provider",
    "tenant": "Tenant",
    "agent": "Agent",
    "user": "User",
    "project": "Project",
    "operation": "Operation",
    "service": "Service",
    "environment": "Environment",
}

_NOT_GIVEN = "not given"
_VALUES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked for, and in which words."""

    selection: Selection
    range_name: str

    @property
    def step(self) -> Literal["hour", "day"]:
        """How finely it is shown over time."""
        return "hour" if self.selection.until - self.selection.since <= timedelta(days=2) else "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the visitor has chosen. It stays as time goes on; `at` gives what it means at a moment."""

    range: Range
    days: tuple[date, date] | None
    filters: dict[str, tuple[str, ...]]

    def at(self, now: datetime) -> Question:
        since, until = _ends(self.range, self.days, now)
        selection = Selection(since=since, until=until, filters=self.filters)
        return Question(selection=selection, range_name=_words(self.range, since, until))

    @property
    def words(self) -> str:
        """The filters as a sentence; empty without any."""
        named = (
            f"{OFFERED[name].lower()} {' or '.join(v or _NOT_GIVEN for v in values)}" for name, values in self.filters.items()
        )
        return "Only " + " and ".join(named) if self.filters else ""


#: What is asked for where nothing can be chosen.
TODAY = Choice(range="Today", days=None, filters={})


def ask(connection: duckdb.DuckDBPyConnection, data: Path, now: datetime) -> Choice:
    """Show the choices, in the container it is called in, and give what is chosen. The address of the page keeps it."""
    chosen: Range = st.segmented_control(
        "Range",
        RANGES,
        default="30 days",
        required=True,
        key="range",
        label_visibility="collapsed",
        bind="query-params",
        wrap=True,
    )
    days = None
    if chosen == "Custom":
        today = now.astimezone(UTC).date()
        picked = st.date_input(
            "From and to, UTC",
            (today - timedelta(days=6), today),
            key="days",
            label_visibility="collapsed",
            width=230,
            bind="query-params",
        )
        days = (picked[0], picked[-1]) if isinstance(picked, tuple) and picked else (today, today)
    with st.popover("Filter", icon=":material/filter_list:"):
        since, until = _ends(chosen, days, now)
        filters = _filters(connection, str(data), Selection(since=since, until=until))
    return Choice(range=chosen, days=days, filters=filters)


def _ends(chosen: Range, days: tuple[date, date] | None, now: datetime) -> tuple[datetime, datetime]:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = midnight + timedelta(days=1)
    match chosen:
        case "Today":
            return midnight, tomorrow
        case "This month":
            return midnight.replace(day=1), tomorrow
        case "Custom" if days is not None:
            return _midnight(days[0]), _midnight(days[1]) + timedelta(days=1)
        case "Custom":
            return midnight, tomorrow
        case _:
            return tomorrow - timedelta(days=int(chosen.split()[0])), tomorrow


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _words(chosen: Range, since: datetime, until: datetime) -> str:
    last = until - timedelta(days=1)
    match chosen:
        case "Custom":
            return f"{since:%-d %b} – {last:%-d %b %Y}" if last > since else f"{since:%-d %b %Y}"
        case "Today" | "This month":
            return chosen.lower()
        case _:
            return f"last {chosen}"


def _filters(connection: duckdb.DuckDBPyConnection, data: str, everything: Selection) -> dict[str, tuple[str, ...]]:
    filters: dict[str, tuple[str, ...]] = {}
    for name, title in OFFERED.items():
        values = _values(connection, data, name, everything.since, everything.until)
        kept: list[str] = st.session_state.get(name, [])
        # A chosen value stays on offer when the range no longer has it: Streamlit would drop the choice without a word.
        offered = values + [value for value in kept if value not in values]
        if offered in ([], [""]):
            continue
        wanted = st.multiselect(
            title, offered, key=name, format_func=lambda value: value or _NOT_GIVEN, placeholder="All", bind="query-params"
        )
        if wanted:
            filters[name] = tuple(wanted)
    return filters


# A minute old is new enough for what can be chosen, and spares every click nine questions to the ledger.
@st.cache_data(ttl=60, max_entries=500, show_spinner=False)
def _values(_connection: duckdb.DuckDBPyConnection, data: str, name: str, since: datetime, until: datetime) -> list[str]:
    """The dearest values of a dimension; "" is a value that is not given."""
    rows = spend_by(_connection, name, Selection(since=since, until=until), top=_VALUES).select(["key", "rest"]).to_pylist()
    return [row["key"] or "" for row in rows if not row["rest"]]
