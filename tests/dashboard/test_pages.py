"""Every page, on an empty and on a filled ledger, as Streamlit runs it."""

from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from spanledger.dashboard.pages import PAGES
from tests.analytics.ledgers import NOON, call, filled

AWAY = "http://127.0.0.1:1"


def script(data: str, api: str, page: str, now) -> None:  # type: ignore[no-untyped-def]
    """What AppTest runs: one page alone, in the frame of every page."""
    from pathlib import Path

    from spanledger.dashboard.pages import PAGES
    from spanledger.dashboard.show import frame

    frame(next(known for known in PAGES if known.name == page), Path(data), api, now)


def page(name: str, data: Path) -> AppTest:
    test = AppTest.from_function(script, default_timeout=60, kwargs={"data": str(data), "api": AWAY, "page": name, "now": NOON})
    return test.run()


def shown(test: AppTest) -> str:
    """All the markup on the page."""
    assert not test.exception, test.exception
    return " ".join(element.proto.body for element in test.get("html"))


def month(folder: Path) -> Path:
    entries = [
        call(
            "0.5", at=NOON - timedelta(days=day, minutes=7), tenant=tenant, agent="bot", user="u1", model=model, provider="openai"
        )
        for day in range(30)
        for tenant, model in (("acme", "gpt-5"), ("globex", "gpt-5-mini"))
    ]
    entries.append(call(None, at=NOON - timedelta(minutes=2), tenant="acme", model="brand-new"))
    entries.append(call("0", at=NOON - timedelta(minutes=1), tenant="acme", outcome="error", error_type="rate_limit_exceeded"))
    return filled(folder, entries)


@pytest.mark.parametrize("name", [known.name for known in PAGES])
def test_every_page_shows_an_empty_ledger_without_an_error(name: str, tmp_path: Path) -> None:
    assert shown(page(name, tmp_path / "nothing yet"))


def test_an_empty_ledger_says_what_to_do(tmp_path: Path) -> None:
    said = shown(page("overview", tmp_path))
    assert "No calls yet" in said
    assert "import spanledger.auto" in said
    assert "127.0.0.1:4318" in said


def test_an_empty_ledger_names_the_ports_of_the_collector_over_it(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"grpc": "127.0.0.1:5317", "http": "127.0.0.1:5318", "api": "http://127.0.0.1:1"}')
    said = shown(page("overview", tmp_path))
    assert "127.0.0.1:5317 (gRPC)" in said
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:5318" in said


@pytest.mark.parametrize("name", [known.name for known in PAGES])
def test_every_page_shows_a_filled_ledger_without_an_error(name: str, tmp_path: Path) -> None:
    assert shown(page(name, month(tmp_path)))


def test_the_overview_shows_the_ledgers_sums(tmp_path: Path) -> None:
    said = shown(page("overview", month(tmp_path)))
    assert ">$1.00<" in said  # today
    assert ">$18.00<" in said  # this month, 18 days of a dollar
    assert ">62<" in said  # calls
    assert "1.6 % of calls are unpriced" in said
    assert "1.6 % failed" in said
    for name in ("acme", "globex", "bot", "gpt-5-mini", "brand-new"):
        assert name in said
    assert f"does not answer at {AWAY}" in said


def test_a_cost_that_lacks_the_price_of_a_part_is_marked_and_says_of_which(tmp_path: Path) -> None:
    part = call("0.5", at=NOON - timedelta(minutes=1), unpriced_reason="no rate for images")
    claimed = call("0.25", at=NOON - timedelta(minutes=2), unpriced_reason="unknown model", cost_state="reported")
    said = shown(page("calls", filled(tmp_path, [part, claimed])))
    assert 'title="at least: no rate for images">≥</span>' in said
    assert said.count("≥") == 1


def test_the_calls_page_tells_what_failed_and_what_has_no_price(tmp_path: Path) -> None:
    said = shown(page("calls", month(tmp_path)))
    assert "rate_limit_exceeded" in said
    assert "Models without a price" in said


def test_a_range_is_one_click(tmp_path: Path) -> None:
    test = page("overview", month(tmp_path))
    test.session_state["range"] = "Today"
    assert "Calls, today" in shown(test.run())


def test_a_filter_is_in_every_figure_and_is_said(tmp_path: Path) -> None:
    test = page("overview", month(tmp_path))
    test.multiselect(key="tenant").set_value(["globex"]).run()
    said = shown(test)
    assert ">$0.50<" in said
    assert ">30<" in said
    assert "acme" not in said
    assert [caption.value for caption in test.caption] == ["Only tenant globex"]


def test_a_filter_that_leaves_nothing_is_no_error(tmp_path: Path) -> None:
    test = page("explore", month(tmp_path))
    test.multiselect(key="model").set_value(["brand-new"])
    test.multiselect(key="tenant").set_value(["globex"]).run()
    assert "No calls in this range with these filters." in shown(test)


def test_spend_over_time_can_be_seen_by_every_dimension_and_measure(tmp_path: Path) -> None:
    test = page("explore", month(tmp_path))
    for name, measure in (("tenant", "Tokens"), ("environment", "Calls")):
        test.session_state["trend.measure"] = measure
        test.selectbox(key="trend.stack").set_value(name).run()
        assert f"Spend by {name}" in shown(test)


def test_pages_have_names_of_their_own() -> None:
    assert len({known.name for known in PAGES}) == len(PAGES)


def test_of_a_damaged_ledger_the_rest_is_shown_below_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    month(tmp_path)
    files = sorted((tmp_path / "entries").glob("day=*/*.parquet"))
    files[0].unlink()
    test = page("overview", tmp_path)
    [warning] = test.warning
    assert files[0].name in warning.value
    assert "spanledger doctor" in warning.value
    assert "$" in shown(test)


def test_a_ledger_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    log = tmp_path / "entries" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("not a log")
    test = page("overview", tmp_path)
    assert not test.exception
    assert [error.value.startswith(f"The ledger in {tmp_path} cannot be read: ") for error in test.error] == [True]
