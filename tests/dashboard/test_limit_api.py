"""What the running collector says about its limits, and what is said when it is away."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanledger.dashboard import limit_api
from spanledger.dashboard.limit_api import CollectorAway, api_of, read_limits
from spanledger.dashboard.pages.limits import limits_card
from tests.ports import nobody_listens
from tests.serving import answering


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits for its collector a moment only; here whoever is there shall have the time to answer."""
    monkeypatch.setattr(limit_api, "_PATIENCE_SECONDS", 60.0)


def limit(name: str = "acme monthly", **columns: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "measure": "cost_usd",
        "amount": "100",
        "hard": True,
        "enabled": True,
        "window": {"kind": "calendar", "unit": "month", "zone": "UTC"},
        "selectors": {"tenant": ["acme"]},
        "per": [],
        "used": "81.5",
        "held": "0.25",
        "window_end": "2026-12-01T00:00:00+00:00",
        "buckets": [],
    } | columns


def limits(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"limits": rows, "next": None}).encode()


def test_where_keys_are_needed_the_one_in_the_environment_is_given_and_else_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPANLEDGER_API_KEY", raising=False)
    with answering(limits(limit()), key="slk_read") as api:
        with pytest.raises(CollectorAway, match=r"wants a key.*SPANLEDGER_API_KEY"):
            read_limits(api)
        monkeypatch.setenv("SPANLEDGER_API_KEY", "slk_read")
        assert [row.name for row in read_limits(api)] == ["acme monthly"]


def test_limits_come_fullest_first_with_exact_amounts() -> None:
    with answering(limits(limit("half", used="50"), limit("over", used="100.000000000001"), limit("nothing", amount="0"))) as api:
        found = read_limits(api)
    assert [row.name for row in found] == ["over", "nothing", "half"]
    assert found[0].used == Decimal("100.000000000001")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, ["acme monthly", "hard", "tenant acme", "$81.50 of $100.00 a month", "82 % full", "$0.25 held", "1 Dec 00:00"]),
        ({"hard": False, "enabled": False}, ["soft", "off"]),
        (
            {"measure": "tokens", "amount": "100000", "used": "250", "window": {"kind": "rolling", "seconds": 7200}},
            ["250 of 100 k tokens in any 2 hours"],
        ),
        (
            {"selectors": {}, "per": ["user"], "buckets": [{"subject": {"user": "<b>u1</b>"}}]},
            ["per user · fullest: &lt;b&gt;u1&lt;/b&gt;"],
        ),
        ({"selectors": {}, "window_end": None, "window": {"kind": "lifetime"}}, ["every call", "in all"]),
    ],
)
def test_a_limit_says_whom_it_covers_and_how_full_it_is(columns: dict[str, Any], words: list[str]) -> None:
    with answering(limits(limit(**columns))) as api:
        shown = limits_card(api, brief=True)
    for word in words:
        assert word in shown


def test_without_limits_the_page_shows_how_to_set_one() -> None:
    with answering(limits()) as api:
        assert "curl" in limits_card(api, brief=True)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"limits": [{}]}', b'{"limits": [{"name": "x", "amount": "much"}]}']
)
def test_something_else_at_the_address_is_said_to_be_that(body: bytes) -> None:
    with answering(body) as api, pytest.raises(CollectorAway, match="is not Spanledger's API"):
        read_limits(api)


def test_a_collector_that_is_away_is_a_sentence_that_says_what_to_do() -> None:
    with nobody_listens() as gone:
        shown = limits_card(gone, brief=False)
    assert f"does not answer at {gone}" in shown
    assert "spanledger up" in shown


def test_an_address_that_is_no_http_address_is_never_opened() -> None:
    with pytest.raises(CollectorAway, match="no http address"):
        read_limits("file:///etc")


def test_without_an_address_the_data_folder_says_where_the_collector_listens(tmp_path: Path) -> None:
    assert api_of(tmp_path, "") == "http://127.0.0.1:4380"
    (tmp_path / "addresses.json").write_text('{"api": "http://127.0.0.1:41234"}')
    assert api_of(tmp_path, "") == "http://127.0.0.1:41234"
    assert api_of(tmp_path, "http://elsewhere:1") == "http://elsewhere:1"
    (tmp_path / "addresses.json").write_text("half a fi")
    assert api_of(tmp_path, "") == "http://127.0.0.1:4380"
