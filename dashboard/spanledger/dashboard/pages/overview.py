"""The first page: what is being spent, on whom, how full the limits are, and what was called last."""

from decimal import Decimal

import streamlit as st

from spanledger.analytics import Overview, Totals, latest_calls, overview, spend_by, totals
from spanledger.dashboard.markup import Figure, Ranked, card, figures, money, ranking, side_by_side, text
from spanledger.dashboard.money import count, dollars, exact, percent
from spanledger.dashboard.page import Moment, Page
from spanledger.dashboard.pages.calls import calls_table
from spanledger.dashboard.pages.limits import limits_card
from spanledger.dashboard.trend import trend

_STACKS = ("model", "provider", "tenant", "agent", "operation")
_RANKED = {
    "tenant": ("Top tenants", "No call says for whom it was made. Say so with <code>with attribute(tenant=…):</code>"),
    "agent": ("Top agents", "No call says which agent made it. Say so with <code>with attribute(agent=…):</code>"),
    "model": ("Top models", "No call names a model."),
}
_TOP = 5
_LATEST = 12


def draw(moment: Moment) -> None:
    """Everything at a glance."""
    question = moment.question
    known = overview(moment.connection, moment.now, filters=question.selection.filters)
    st.html(figures([*_money(known), *_usage(totals(moment.connection, question.selection), question.range_name)]))
    trend(moment, _STACKS)
    st.html(side_by_side(_ranking(moment, name) for name in _RANKED))
    st.html(limits_card(moment.api, brief=True))
    latest = latest_calls(moment.connection, question.selection, count=_LATEST).to_pylist()
    st.html(card("Latest calls", calls_table(latest, moment.now), question.range_name))


def _money(known: Overview) -> list[Figure]:
    projection = known.projection
    usual = (
        f"usually {dollars(known.usual_by_now_usd)} by now"
        if known.usual_by_now_usd is not None
        else "no full day to compare with yet"
    )
    average = (
        f"{dollars(known.daily_average_usd)} a day on average"
        if known.daily_average_usd is not None
        else "this month's first day"
    )
    if projection is None:
        projected = Figure(label=f"Projected for {known.now:%B}", value="–", note="needs one full day of history", main=True)
    else:
        interval = "no interval yet"
        if projection.low_usd is not None:
            interval = f"{dollars(projection.low_usd)} to {dollars(projection.high_usd)}"
        projected = Figure(
            label=f"Projected for {known.now:%B}",
            value=money(projection.cost_usd),
            note=interval,
            hint=projection.method,
            main=True,
        )
    return [
        Figure(
            label="Spent today",
            value=_cost(known.today),
            note=_beside(known.today, usual),
            hint=exact(known.today.cost_usd),
            main=True,
        ),
        Figure(
            label="This month",
            value=_cost(known.month),
            note=_beside(known.month, average),
            hint=exact(known.month.cost_usd),
            main=True,
        ),
        projected,
    ]


def _usage(sums: Totals, range_name: str) -> list[Figure]:
    failed = f"{percent(sums.failed / sums.calls)} failed" if sums.failed > 0 and sums.calls > 0 else "none failed"
    cached = ""
    if sums.cache_read_tokens > 0 and sums.input_tokens > 0:
        cached = f", {percent(sums.cache_read_tokens / sums.input_tokens)} of the input from a cache"
    tokens = f"{count(sums.input_tokens)} in, {count(sums.output_tokens)} out"
    return [
        Figure(label=f"Calls, {range_name}", value=count(sums.calls), note=failed, hint=f"{sums.calls:,} calls"),
        Figure(label=f"Tokens, {range_name}", value=count(sums.tokens), note=tokens, hint=f"{sums.tokens:,} tokens{cached}"),
        _coverage(sums, range_name),
    ]


def _coverage(sums: Totals, range_name: str) -> Figure:
    hint = "The share of calls for which a price is known. The others cost something too, but no sum has them."
    label = f"Priced, {range_name}"
    if sums.coverage is None:
        return Figure(label=label, value="–", note="no calls", hint=hint)
    if sums.unpriced <= 0:
        return Figure(label=label, value="100 %", note="every call has a price", hint=hint)
    unpriced = f'<span class="sl-amber">{percent(sums.unpriced / sums.calls)} of calls are unpriced</span>'
    return Figure(label=label, value=percent(sums.coverage), note=unpriced, hint=hint)


def _cost(sums: Totals) -> str:
    return "unpriced" if sums.cost_usd is None else money(sums.cost_usd)


def _beside(sums: Totals, note: str) -> str:
    if sums.unpriced <= 0:
        return text(note)
    return f'{text(note)}<br><span class="sl-amber">{count(sums.unpriced)} unpriced</span>'


def _ranking(moment: Moment, name: str) -> str:
    title, nothing = _RANKED[name]
    rows = spend_by(moment.connection, name, moment.question.selection, top=_TOP).to_pylist()
    if all(row["key"] is None and not row["rest"] for row in rows):
        return card(title, f'<p class="sl-note">{nothing if rows else "No calls in this range."}</p>')
    lines = [
        Ranked(name=_name(row), cost_usd=row["cost_usd"], calls=row["calls"], unpriced=row["unpriced"], rest=row["rest"])
        for row in rows
        if not row["rest"] or row["cost_usd"] != Decimal(0)
    ]
    return card(title, ranking(lines), moment.question.range_name)


def _name(row: dict[str, object]) -> str | None:
    return f"{row['keys']} others" if row["rest"] else None if row["key"] is None else str(row["key"])


OVERVIEW = Page(
    name="overview",
    title="Overview",
    icon=":material/monitoring:",
    about="What your applications spend on language models",
    draw=draw,
)
