"""Spend by any one dimension, over time and in a table."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from spanledger.analytics import latency, spend_by
from spanledger.dashboard.markup import Column, card, money, table, text
from spanledger.dashboard.money import count, percent, seconds
from spanledger.dashboard.page import Moment, Page
from spanledger.dashboard.question import OFFERED
from spanledger.dashboard.trend import trend

_TOP = 100

_COLUMNS = (
    Column(title="Calls", number=True),
    Column(title="failed", number=True, wide=True),
    Column(title="unpriced", number=True),
    Column(title="Tokens in", number=True, wide=True),
    Column(title="from cache", number=True, wide=True),
    Column(title="out", number=True, wide=True),
    Column(title="Took (median)", number=True, wide=True),
    Column(title="Cost", number=True),
    Column(title="Share", number=True, wide=True),
)


def draw(moment: Moment) -> None:
    """One dimension, chosen on the page."""
    question = moment.question
    name = trend(moment, list(OFFERED))
    rows = spend_by(moment.connection, name, question.selection, top=_TOP).to_pylist()
    took = {row["key"]: row["duration_p50"] for row in latency(moment.connection, question.selection, name, top=_TOP).to_pylist()}
    body = _table(OFFERED[name], rows, took) if rows else '<p class="sl-note">No calls in this range with these filters.</p>'
    st.html(card(f"Spend by {OFFERED[name].lower()}", body, question.range_name))


def _table(title: str, rows: Sequence[dict[str, Any]], took: dict[str | None, float | None]) -> str:
    whole = sum(row["cost_usd"] or 0 for row in rows)
    return table(
        (Column(title=title), *_COLUMNS),
        (
            (
                f"<em>{row['keys']} others</em>"
                if row["rest"]
                else "<em>not given</em>"
                if row["key"] is None
                else text(row["key"]),
                count(row["calls"]),
                count(row["failed"]),
                f'<span class="sl-amber">{count(row["unpriced"])}</span>' if row["unpriced"] else "0",
                count(row["input_tokens"]),
                percent(row["cache_read_tokens"] / row["input_tokens"])
                if row["cache_read_tokens"] and row["input_tokens"]
                else "–",
                count(row["output_tokens"]),
                "–" if row["rest"] else seconds(took.get(row["key"])),
                money(row["cost_usd"]),
                percent(float(row["cost_usd"] / whole)) if row["cost_usd"] is not None and whole > 0 else "–",
            )
            for row in rows
        ),
    )


EXPLORE = Page(
    name="explore",
    title="Explore",
    icon=":material/query_stats:",
    about="Spend by model, tenant, agent, user … over time",
    draw=draw,
)
