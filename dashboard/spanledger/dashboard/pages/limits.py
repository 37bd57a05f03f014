"""How full the limits are, as the running collector knows it."""

from decimal import Decimal

import streamlit as st

from spanledger.dashboard.limit_api import CollectorAway, LimitState, read_limits
from spanledger.dashboard.markup import Tone, card, chip, text
from spanledger.dashboard.money import count, dollars, percent
from spanledger.dashboard.page import Moment, Page

_BRIEF = 5
_NEARLY = 0.8

_NONE = """
<p class="sl-note">No limits are set. One line sets a limit of $50 a day for each tenant:</p>
<pre class="sl-code">{example}</pre>
"""
_EXAMPLE = """curl {api}/api/limits -H 'content-type: application/json' -d '{{
  "name": "each tenant, daily", "measure": "cost_usd", "amount": "50", "hard": true,
  "per": ["tenant"], "window": {{"kind": "calendar", "unit": "day", "zone": "UTC"}}}}'"""


def draw(moment: Moment) -> None:
    """All limits, fullest first."""
    st.html(limits_card(moment.api, brief=False))


def limits_card(api: str, *, brief: bool) -> str:
    """The limits as a panel, the fullest few or all; a plain sentence when the collector is away."""
    try:
        limits = read_limits(api)
    except CollectorAway as away:
        return card("Limits", f'<p class="sl-note">{text(away)}</p>', "collector away")
    if not limits:
        return card("Limits", _NONE.format(example=text(_EXAMPLE.format(api=api))), "none set")
    shown = limits[:_BRIEF] if brief else limits
    note = f"the {len(shown)} fullest of {len(limits)}" if len(shown) < len(limits) else f"{len(limits)} in force"
    return card("Limits", f'<ol class="sl-list sl-limits">{"".join(map(_line, shown))}</ol>', note)


def _line(limit: LimitState) -> str:
    tone: Tone = "sl-red" if limit.fraction >= 1 else "sl-amber" if limit.fraction >= _NEARLY else ""
    chips = chip("hard" if limit.hard else "soft") + ("" if limit.enabled else " " + chip("off", "sl-amber"))
    used = _width(limit.used, limit.amount, 100)
    held = _width(limit.held, limit.amount, 100 - used)
    unit = "" if limit.in_money else f" {text(limit.measure.replace('_', ' '))}"
    amounts = f"{_amount(limit, limit.used)} of {_amount(limit, limit.amount)}{unit} {text(limit.window)}"
    details = [percent(limit.fraction) + " full"]
    if limit.held > 0:
        details.append(f"{_amount(limit, limit.held)} held by calls in flight")
    if limit.window_end is not None:
        details.append(f"starts anew {limit.window_end:%-d %b %H:%M} UTC")
    name = text(limit.name)
    return (
        f'<li><div class="sl-row"><span class="sl-name">{name} {chips} <small>{text(limit.covers)}</small></span>'
        f'<span class="sl-amount">{amounts}</span></div>'
        f'<div class="sl-bar {tone}" role="meter" aria-label="{name}" aria-valuenow="{limit.fraction:.2f}" aria-valuemax="1">'
        f'<i style="width:{used:.1f}%"></i><i class="sl-held" style="width:{held:.1f}%"></i></div>'
        f'<small class="{tone}">{text(" · ".join(details))}</small></li>'
    )


def _width(part: Decimal, whole: Decimal, most: Decimal | int) -> Decimal:
    if whole <= 0:
        return Decimal(most)
    return min(max(part, Decimal(0)) * 100 / whole, Decimal(most))


def _amount(limit: LimitState, amount: Decimal) -> str:
    return dollars(amount) if limit.in_money else count(int(amount))


LIMITS = Page(
    name="limits",
    title="Limits",
    icon=":material/speed:",
    about="What may still be spent, as the running collector knows it",
    draw=draw,
    asks=False,
    needs_calls=False,
)
