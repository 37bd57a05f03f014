"""What DuckDB sees of the ledger."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from spanledger.ledger.connect import connect, duckdb_types, refresh
from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.table import Ledger
from tests.ledger.made import NOON, entries, entry


def test_an_empty_data_folder_gives_empty_views_with_the_schemas_types(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    for view in ("entries", "calls"):
        described = connection.execute(f"describe {view}").fetchall()
        assert {name: kind.lower().replace(", ", ",") for name, kind, *_ in described} == {
            name: kind.replace("timestamptz", "timestamp with time zone").replace(", ", ",")
            for name, kind in duckdb_types().items()
        }
        assert [row[0] for row in described] == ENTRIES.names
        assert connection.execute(f"select count(*) from {view}").fetchone() == (0,)


def test_the_views_have_the_same_types_with_entries_as_without(tmp_path: Path) -> None:
    before = connect(tmp_path).execute("describe entries").fetchall()
    Ledger.open(tmp_path / "entries").post(entries(entry("a")), mark=1)
    assert connect(tmp_path).execute("describe entries").fetchall() == before
    assert connect(tmp_path).execute("describe calls").fetchall() == before


def test_a_day_is_a_date_and_time_is_utc(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a"), entry("b", occurred_at=NOON - timedelta(days=1))), mark=1)
    rows = connect(tmp_path).execute("select day, occurred_at::varchar from entries order by day").fetchall()
    assert rows == [(date(2026, 3, 4), "2026-03-04 12:00:00+00"), (date(2026, 3, 5), "2026-03-05 12:00:00+00")]


def test_a_reversed_call_does_not_stand_and_every_sum_agrees(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a", cost_usd=Decimal("0.50")), entry("b", cost_usd=Decimal("0.25"))), mark=1)
    ledger.post(entries(entry("r", kind="reversal", calls=-1, stands_for="a", cost_usd=Decimal("-0.50"))), mark=2)
    connection = connect(tmp_path)
    assert connection.execute("select entry_id from calls").fetchall() == [("b",)]
    assert connection.execute("select sum(calls), sum(cost_usd) from entries").fetchone() == (1, Decimal("0.25"))
    assert connection.execute("select sum(calls), sum(cost_usd) from calls").fetchone() == (1, Decimal("0.25"))


def test_an_adjustment_changes_the_cost_of_its_call_and_prices_an_unpriced_one(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    unpriced = entry("b", cost_usd=None, cost_state="unpriced", unpriced_reason="no rate")
    ledger.post(entries(entry("a", cost_usd=Decimal("0.50"), price_revision="1"), unpriced), mark=1)
    ledger.post(
        entries(
            entry("x", kind="adjustment", calls=0, stands_for="a", cost_usd=Decimal("-0.10"), price_revision="2"),
            entry("y", kind="adjustment", calls=0, stands_for="b", cost_usd=Decimal("0.07"), price_revision="2"),
        ),
        mark=None,
    )
    rows = connect(tmp_path).execute(
        "select entry_id, cost_usd, cost_state, unpriced_reason, price_revision from calls order by entry_id"
    )  # fmt: skip
    assert rows.fetchall() == [("a", Decimal("0.40"), "priced", None, "2"), ("b", Decimal("0.07"), "priced", None, "2")]


def test_a_connection_sees_new_entries_after_a_refresh(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    assert refresh(connection) == -1
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a")), mark=1)
    assert connection.execute("select count(*) from entries").fetchone() == (0,)
    assert refresh(connection) == ledger.version()
    assert connection.execute("select count(*) from entries").fetchone() == (1,)


def test_a_folder_with_a_quote_in_its_name_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "o'hara"
    Ledger.open(folder / "entries").post(entries(entry("a")), mark=1)
    assert connect(folder).execute("select count(*) from calls").fetchone() == (1,)
