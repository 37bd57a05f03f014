"""One connection shows the ledger beside the control tables, and disturbs neither."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import spanledger.analytics
from spanledger.analytics import connect
from spanledger.control import TABLES, Control
from spanledger.ledger.opening import LedgerError
from tests.analytics.ledgers import call, filled


def limit(name: str, amount: str, **columns: object) -> dict[str, object]:
    now = datetime(2026, 11, 18, tzinfo=UTC)
    return {
        "id": name,
        "name": name,
        "source": "api",
        "selectors": {"tenant": ["acme"]},
        "per": [],
        "measure": "cost_usd",
        "window": {"kind": "calendar", "unit": "month"},
        "amount": Decimal(amount),
        "hard": True,
        "enabled": True,
        "rest": {},
        "created_at": now,
        "updated_at": now,
    } | columns


def test_without_any_data_every_table_is_there_and_empty(tmp_path: Path) -> None:
    connection = connect(tmp_path / "nowhere")
    for name in ("entries", "calls", *TABLES):
        assert connection.sql(f'select count(*) from "{name}"').fetchall() == [(0,)]
    assert not (tmp_path / "nowhere").exists()


def test_every_control_table_has_the_columns_it_has_in_the_database(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    for name, table in TABLES.items():
        assert connection.sql(f'from "{name}"').columns == [column.name for column in table.columns]


def test_spend_can_be_joined_to_limits(tmp_path: Path) -> None:
    data = filled(tmp_path, [call("1.5", tenant="acme"), call("9", tenant="globex")])
    control = Control.open(data / "control.sqlite")
    with control.change(who="test") as change:
        change.insert(TABLES["limits"], limit("acme monthly", "100.123456789012"))
    (row,) = (
        connect(data)
        .sql(
            """
        select limits.amount, sum(entries.cost_usd), limits.created_at
        from limits
        join entries on list_contains(from_json(limits.selectors->'tenant', '["varchar"]'), entries.tenant)
        group by all
        """
        )
        .fetchall()
    )
    assert row[:2] == (Decimal("100.123456789012"), Decimal("1.5"))
    assert row[2].isoformat() == "2026-11-18T00:00:00+00:00"
    control.close()


def test_reading_the_control_database_leaves_it_free_to_be_written(tmp_path: Path) -> None:
    control = Control.open(tmp_path / "control.sqlite")
    connection = connect(tmp_path)
    with control.change(who="test", why="while somebody reads") as change:
        change.insert(TABLES["limits"], limit("later", "1"))
    assert connection.sql("select count(*) from limits").fetchall() == [(0,)]  # a connection is of its moment
    assert connect(tmp_path).sql("select name from limits").fetchall() == [("later",)]
    control.close()


def test_the_public_face() -> None:
    assert sorted(spanledger.analytics.__all__) == [
        "Extent",
        "Overview",
        "Projection",
        "Selection",
        "Totals",
        "connect",
        "errors",
        "extent",
        "latency",
        "latest_calls",
        "overview",
        "spend_by",
        "spend_over_time",
        "totals",
        "unpriced_models",
    ]


def test_a_control_database_that_cannot_be_read_is_named_and_the_ledger_is_served(tmp_path: Path) -> None:
    (tmp_path / "control.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match=r"control database .* file is not a database"):
        connect(tmp_path)
    with connect(tmp_path, damaged="leave out") as connection:
        assert connection.execute("select count(*) from limits").fetchone() == (0,)
