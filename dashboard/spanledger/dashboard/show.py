"""Draws the dashboard for one visitor: the frame of every page, and the page that was chosen."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import streamlit as st

from spanledger.analytics import extent
from spanledger.dashboard.first_steps import first_steps
from spanledger.dashboard.ledger_source import LedgerUnreadable, opened
from spanledger.dashboard.limit_api import api_of
from spanledger.dashboard.markup import text
from spanledger.dashboard.page import Moment, Page
from spanledger.dashboard.pages import PAGES
from spanledger.dashboard.question import TODAY, Choice, ask

_STYLE = Path(__file__).parent / "style.css"
_LOGO = Path(__file__).parent / "logo.svg"
_REFRESH_SECONDS = {"off": None, "5 s": 5, "30 s": 30, "5 min": 300}


def show(data: Path, api: str = "", *, now: datetime | None = None) -> None:
    """Draw the page that the visitor is on. `now` is the clock's unless given."""
    st.set_page_config(page_title="Spanledger", page_icon=str(_LOGO), layout="wide")
    st.html(_STYLE)
    st.logo(str(_LOGO), size="large")

    def drawn(page: Page) -> None:
        frame(page, data, api, now)

    entries = [
        st.Page(_named(drawn, page), title=page.title, icon=page.icon, url_path=page.name, default=page is PAGES[0])
        for page in PAGES
    ]
    st.navigation(entries, position="top").run()


def _named(drawn: Callable[[Page], None], page: Page) -> Callable[[], None]:
    """Streamlit tells pages apart by their function."""

    def run() -> None:
        drawn(page)

    return run


def frame(page: Page, data: Path, api: str, now: datetime | None) -> None:
    """Draw one page with its head, and again as often as the visitor wants."""
    try:
        with opened(data) as (connection, missing):
            if missing:
                st.warning(
                    f"What is shown leaves something out: {text(missing)}. `spanledger doctor --data {data}` tells all of it.",
                    icon=":material/warning:",
                )
            empty = page.needs_calls and extent(connection).entries == 0
            choice, every = _head(page, connection, data, now or datetime.now(UTC), asks=page.asks and not empty)
    except LedgerUnreadable as error:
        st.error(str(error), icon=":material/error:")
        return

    @st.fragment(run_every=_REFRESH_SECONDS[every])
    def drawn() -> None:
        moment = now or datetime.now(UTC)
        with opened(data) as (connection, _):
            if empty and extent(connection).entries == 0:
                st.html(first_steps(data))
            elif empty:
                st.rerun()  # the first calls have come: the page needs its head
            else:
                page.draw(Moment(connection=connection, now=moment, question=choice.at(moment), data=data, api=api_of(data, api)))

    drawn()
    st.html('<footer class="sl-note">Days, months and times are UTC. Money is US dollars.</footer>')


def _head(page: Page, connection: duckdb.DuckDBPyConnection, data: Path, now: datetime, *, asks: bool) -> tuple[Choice, str]:
    """The title and, on one line with it where there is room, what can be chosen."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="sl-head"):
        st.html(f'<header class="sl-head"><h1>{text(page.title)}</h1><p>{text(page.about)}</p></header>', width="content")
        with st.container(horizontal=True, vertical_alignment="center", width="content", gap="small", key="sl-choices"):
            choice = ask(connection, data, now) if asks else TODAY
            every = st.selectbox(
                "Refresh",
                list(_REFRESH_SECONDS),
                index=1,
                key="refresh",
                width=104,
                format_func=lambda word: f"↻ {word}",
                label_visibility="collapsed",
                persist_state="session",
            )
    if choice.words:
        st.caption(choice.words)
    return choice, every
