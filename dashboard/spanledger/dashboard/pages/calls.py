"""Calls one by one: the latest, those that failed and why, and those that no price is known for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import streamlit as st

from spanledger.analytics import errors, latest_calls, unpriced_models
from spanledger.dashboard.markup import Column, card, chip, money, table, text
from spanledger.dashboard.money import count, seconds
from spanledger.dashboard.page import Moment, Page

_FAILURES = 12
_SHOWN = (50, 200, 1000)
_OUTCOMES: dict[str, Literal["ok", "error"] | None] = {"All": None, "Failed": "error", "Answered": "ok"}

_COLUMNS = (
    Column(title="When"),
    Column(title="Model"),
    Column(title="Operation", wide=True),
    Column(title="Tenant"),
    Column(title="Agent", wide=True),
    Column(title="User", wide=True),
    Column(title="Tokens in", number=True, wide=True),
    Column(title="out", number=True, wide=True),
    Column(title="Took", number=True, wide=True),
    Column(title="Cost", number=True),
)


def draw(moment: Moment) -> None:
    """The calls of the selection."""
    question = moment.question
    failed = errors(moment.connection, question.selection).to_pylist()
    unpriced = unpriced_models(moment.connection, question.selection).to_pylist()
    with st.container(horizontal=True, vertical_alignment="center"):
        outcome = st.segmented_control(
            "Outcome", list(_OUTCOMES), default="All", required=True, key="calls.outcome", label_visibility="collapsed"
        )
        number = st.selectbox(
            "Show", _SHOWN, format_func=lambda n: f"latest {n}", key="calls.count", label_visibility="collapsed", width=140
        )
    latest = latest_calls(moment.connection, question.selection, count=number, outcome=_OUTCOMES[outcome]).to_pylist()
    if unpriced:
        st.html(card("Models without a price", _unpriced_table(unpriced), "no sum has what they cost"))
    if failed:
        shown = failed[:_FAILURES]
        note = f"the {_FAILURES} most frequent of {len(failed)} kinds" if len(shown) < len(failed) else question.range_name
        st.html(card("Failures", _failure_table(shown), note))
    st.html(card("Calls", calls_table(latest, moment.now), f"{len(latest)} shown, newest first"))


def calls_table(calls: Sequence[dict[str, Any]], now: datetime) -> str:
    """Calls as rows of `latest_calls`, in a table."""
    if not calls:
        return '<p class="sl-note">No calls in this range with these filters.</p>'
    return table(_COLUMNS, (_cells(call, now) for call in calls))


def _cells(call: dict[str, Any], now: datetime) -> Sequence[str]:
    failure = f" {chip(call['error_type'] or 'failed', 'sl-red')}" if call["outcome"] == "error" else ""
    return (
        f'<time datetime="{call["occurred_at"].isoformat()}">{_when(call["occurred_at"], now)}</time>',
        f"{_given(call['model'])} <small>{text(call['provider'] or '')}</small>{failure}",
        _given(call["operation"]),
        _given(call["tenant"]),
        _given(call["agent"]),
        _given(call["user"]),
        count(call["input_tokens"]),
        count(call["output_tokens"]),
        seconds(call["duration_seconds"]),
        _cost(call),
    )


def _cost(call: dict[str, Any]) -> str:
    why = call["unpriced_reason"]
    if call["cost_usd"] is None:
        return f'<span class="sl-amber" title="{text(why or "no price is known")}">unpriced</span>'
    if why and call["cost_state"] != "reported":
        return f'<span class="sl-amber" title="at least: {text(why)}">≥</span> {money(call["cost_usd"])}'
    return money(call["cost_usd"])


def _when(at: datetime, now: datetime) -> str:
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    return f"{at:%-d %b %H:%M}" if at.year == now.year else f"{at:%-d %b %Y}"


def _given(value: str | None) -> str:
    return "–" if value is None else text(value)


def _failure_table(rows: Sequence[dict[str, Any]]) -> str:
    columns = (
        Column(title="Error"),
        Column(title="Model"),
        Column(title="Provider", wide=True),
        Column(title="Last", wide=True),
        Column(title="Calls", number=True),
        Column(title="Cost", number=True),
    )
    return table(
        columns,
        (
            (
                chip(row["error_type"] or "failed", "sl-red"),
                _given(row["model"]),
                _given(row["provider"]),
                f"{row['last_at']:%-d %b %H:%M}",
                count(row["calls"]),
                money(row["cost_usd"]) if row["cost_usd"] is not None else "–",
            )
            for row in rows
        ),
    )


def _unpriced_table(rows: Sequence[dict[str, Any]]) -> str:
    columns = (
        Column(title="Model"),
        Column(title="Provider"),
        Column(title="Why", wide=True),
        Column(title="Calls", number=True),
        Column(title="Tokens in", number=True, wide=True),
        Column(title="out", number=True, wide=True),
    )
    return table(
        columns,
        (
            (
                _given(row["model"]),
                _given(row["provider"]),
                _given(row["unpriced_reason"]),
                count(row["calls"]),
                count(row["input_tokens"]),
                count(row["output_tokens"]),
            )
            for row in rows
        ),
    )


CALLS = Page(
    name="calls",
    title="Calls",
    icon=":material/receipt_long:",
    about="The latest calls, the failed ones, and those without a price",
    draw=draw,
)
