"""What comes from telemetry is text on the page, whatever it says."""

from decimal import Decimal

import pytest

from spanledger.dashboard.markup import Column, Figure, Ranked, card, chip, figures, legend, ranking, table, text
from spanledger.dashboard.pages.calls import calls_table
from tests.analytics.ledgers import NOON

ATTACK = """<script>alert(1)</script>"><img src=x onerror='alert(1)'>"""


@pytest.mark.parametrize(
    "markup",
    [
        text(ATTACK),
        card(ATTACK, "", ATTACK),
        chip(ATTACK),
        legend([ATTACK]),
        figures([Figure(label=ATTACK, value="", hint=ATTACK)]),
        ranking([Ranked(name=ATTACK, cost_usd=Decimal(1), calls=1, unpriced=0)]),
        table([Column(title=ATTACK)], []),
    ],
)
def test_markup_in_a_name_stays_text(markup: str) -> None:
    assert "<script" not in markup
    assert "<img" not in markup


def test_markup_in_any_column_of_a_call_stays_text() -> None:
    words = ("provider", "model", "operation", "tenant", "agent", "user", "error_type", "unpriced_reason")
    row = dict.fromkeys(words, ATTACK) | {
        "occurred_at": NOON,
        "outcome": "error",
        "cost_usd": None,
        "input_tokens": None,
        "output_tokens": None,
        "duration_seconds": None,
    }
    shown = calls_table([row], NOON)
    assert shown.count("&lt;script") == len(words)
    assert "<script" not in shown


def test_a_bar_is_as_long_as_its_share_of_the_dearest_and_never_longer() -> None:
    lines = [
        Ranked(name="a", cost_usd=Decimal(8), calls=2, unpriced=0),
        Ranked(name="b", cost_usd=Decimal(2), calls=1, unpriced=1),
        Ranked(name=None, cost_usd=None, calls=1, unpriced=1),
        Ranked(name="12 others", cost_usd=Decimal(30), calls=9, unpriced=0, rest=True),
    ]
    shown = ranking(lines)
    assert [part.split("%")[0] for part in shown.split("width:")[1:]] == ["100.0", "25.0", "0.0", "100.0"]
    assert "not given" in shown
    assert "1 unpriced" in shown


def test_a_ranking_of_calls_that_cost_nothing_has_no_bars() -> None:
    assert "width:0.0%" in ranking([Ranked(name="a", cost_usd=Decimal(0), calls=1, unpriced=0)])
