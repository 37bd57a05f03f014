"""The panel with spend over time, stacked by a dimension that is chosen on it."""

from collections.abc import Sequence

import streamlit as st

from spanledger.analytics import spend_over_time
from spanledger.dashboard.charts import MEASURES, SERIES, over_time, series_of
from spanledger.dashboard.markup import legend
from spanledger.dashboard.page import Moment
from spanledger.dashboard.question import OFFERED


def trend(moment: Moment, dimensions: Sequence[str]) -> str:
    """Draw the panel and give the dimension that is chosen."""
    question = moment.question
    with st.container(border=True, key="sl-trend"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            chosen = st.selectbox(
                "Stack by",
                dimensions,
                format_func=lambda name: f"By {OFFERED[name].lower()} and {question.step}",
                key="trend.stack",
                label_visibility="collapsed",
                width=230,
                persist_state="session",
            )
            measure = st.segmented_control(
                "Measure",
                MEASURES,
                default="Cost",
                required=True,
                key="trend.measure",
                label_visibility="collapsed",
                persist_state="session",
            )
        spend = spend_over_time(moment.connection, question.selection, step=question.step, dimension=chosen, top=SERIES)
        # Vega's own legend runs out of a narrow page; this one wraps.
        st.html(legend(series_of(spend, measure)))
        st.altair_chart(over_time(spend, question, measure), key="trend.chart")
    return chosen
