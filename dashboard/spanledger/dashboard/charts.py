"""Draws spend over time. Bars need floats; what is read in words comes from the decimals."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

import altair as alt
import pyarrow as pa

from spanledger.dashboard.money import count, dollars
from spanledger.dashboard.question import Question

Measure = Literal["Cost", "Tokens", "Calls"]
MEASURES: tuple[Measure, ...] = ("Cost", "Tokens", "Calls")

#: One less than the theme has colours; its last is a grey, for the rest.
SERIES = 7
NOT_GIVEN = "not given"
REST = "all others"

_AXIS: Mapping[Measure, str] = {
    "Cost": "datum.value == 0 ? '$0' : datum.value < 0.01 ? format(datum.value, '$.2~r')"
    " : datum.value < 10000 ? format(datum.value, '$,.2~f') : format(datum.value, '$.3~s')",
    "Tokens": "format(datum.value, '~s')",
    "Calls": "format(datum.value, ',.3~s')",
}


_DAY_LABEL = "utcFormat(toDate(datum.value), '%-d %b')"
_HOUR_LABEL = "utcFormat(toDate(datum.value), utchours(toDate(datum.value)) == 0 ? '%-d %b' : '%H:%M')"


def series_of(spend: pa.Table, measure: Measure) -> list[str]:
    """The names of the series of `over_time`, greatest first: the order of the theme's colours."""
    return _order([_row(row, measure, hourly=False) for row in spend.to_pylist()])


def over_time(spend: pa.Table, question: Question, measure: Measure, *, height: int = 320) -> alt.Chart:
    """Bars by step of time (UTC), stacked by the key of `spend_over_time`, the greatest at the bottom; gaps are shown."""
    hourly = question.step == "hour"
    rows = [_row(row, measure, hourly) for row in spend.to_pylist()]
    order = _order(rows)
    for row in rows:
        row["place"] = order.index(row["series"])
    rows += _empty(rows, order, question)
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(cornerRadius=1, width=alt.RelativeBandSize(band=0.78))
        .encode(
            # A place of its own for every step, with its label under it: on a continuous axis labels stand between bars.
            x=alt.X(
                "since:O",
                title=None,
                axis=alt.Axis(
                    labelExpr=_HOUR_LABEL if hourly else _DAY_LABEL,
                    labelAngle=0,
                    labelOverlap="greedy",
                    labelSeparation=14,
                    ticks=False,
                ),
            ),
            y=alt.Y("value:Q", stack="zero", title=None, axis=alt.Axis(labelExpr=_AXIS[measure], tickCount=5)),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=order),
                legend=None,
            ),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("series:N", title="​"),
                alt.Tooltip("when:N", title="Hour (UTC)" if hourly else "Day (UTC)"),
                alt.Tooltip("cost:N", title="Cost"),
                alt.Tooltip("calls:N", title="Calls"),
                alt.Tooltip("tokens:N", title="Tokens"),
            ],
        )
        .properties(height=height, background="transparent")
    )
    return chart


def _row(row: dict[str, Any], measure: Measure, hourly: bool) -> dict[str, Any]:
    tokens = (row["input_tokens"] or 0) + (row["output_tokens"] or 0)
    unpriced = f" ({count(row['unpriced'])} unpriced)" if row["unpriced"] else ""
    value = {"Cost": row["cost_usd"] or 0, "Tokens": tokens, "Calls": row["calls"]}[measure]
    return {
        "since": row["since"].isoformat(),
        "when": f"{row['since']:%-d %b %H:%M}" if hourly else f"{row['since']:%a %-d %b}",
        "series": REST if row["rest"] else row["key"] or NOT_GIVEN,
        "value": float(value),
        "cost": dollars(row["cost_usd"]),
        "calls": count(row["calls"]) + unpriced,
        "tokens": count(tokens),
    }


def _order(rows: list[dict[str, Any]]) -> list[str]:
    """The series by size, the rest last: the theme's last colour is its grey."""
    sums: dict[str, float] = {}
    for row in rows:
        sums[row["series"]] = sums.get(row["series"], 0) + row["value"]
    return sorted(sums, key=lambda name: (name == REST, -sums[name], name)) or [NOT_GIVEN]


def _empty(rows: list[dict[str, Any]], order: list[str], question: Question) -> list[dict[str, Any]]:
    """A row of nothing for each step without one, so that the axis shows the whole range and its gaps."""
    filled = {row["since"] for row in rows}
    step = timedelta(hours=1) if question.step == "hour" else timedelta(days=1)
    since, until = question.selection.since, question.selection.until
    steps = (since + i * step for i in range(int((until - since) / step)))
    return [{"since": at.isoformat(), "series": order[0], "value": 0, "place": 0} for at in steps if at.isoformat() not in filled]
