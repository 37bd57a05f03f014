"""Tables of older and newer versions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake

from spanledger.ledger.connect import connect, duckdb_types
from spanledger.ledger.maintenance import Maintenance, files_of
from spanledger.ledger.rolling import roll_up
from spanledger.ledger.schema import ENTRIES, SCHEMA_VERSION
from spanledger.ledger.table import Ledger, LedgerError, mark_name
from spanledger.ledger.version import VERSION, missing_columns, mixed
from tests.ledger.made import NOON, entries, entry

_NOT_YET = ["agent", "list_cost_usd", "streamed", "request_id"]


def _older(folder: Path) -> None:
    """A table as a version without some columns would have made it, with an entry and a mark."""
    old = entries(entry("a" * 32, cost_usd=Decimal("0.5"))).drop_columns(_NOT_YET)
    properties = CommitProperties(app_transactions=[Transaction(mark_name(""), 7)])
    hooks = PostCommitHookProperties(create_checkpoint=False)
    write_deltalake(
        folder, old, mode="append", partition_by=["day"], commit_properties=properties, post_commithook_properties=hooks
    )


def test_an_older_table_is_read_as_it_is(tmp_path: Path) -> None:
    _older(tmp_path / "entries")
    connection = connect(tmp_path)
    assert [row[0] for row in connection.execute("describe entries").fetchall()] == list(duckdb_types())
    assert connection.execute("select count(*), sum(cost_usd), max(agent) from calls").fetchone() == (1, Decimal("0.5"), None)
    assert connection.execute("select sum(entries), sum(list_cost_usd) from rollup").fetchone() == (1, None)


def test_an_older_table_gets_the_new_columns_and_is_read_and_maintained_with_the_newer_entries(tmp_path: Path) -> None:
    _older(tmp_path / "entries")
    ledger = Ledger.open(tmp_path / "entries")
    assert missing_columns(ledger.table) == []
    assert mixed(ledger.table)
    assert ledger.mark() == 7
    assert connect(tmp_path).execute("select count(*), sum(cost_usd), max(agent) from calls").fetchone() == (
        1,
        Decimal("0.5"),
        None,
    )
    roll_up(ledger, [replace(file, ordered=True) for file in files_of(ledger)])
    assert connect(tmp_path).execute("select sum(entries), max(agent) from rollup").fetchone() == (1, None)
    ledger.post(entries(entry("b" * 32, agent="x", list_cost_usd=Decimal(2))), mark=8)
    wanted = [("a" * 32, None, None), ("b" * 32, "x", Decimal(2))]
    asked = "select entry_id, agent, list_cost_usd from entries order by all"
    assert connect(tmp_path).execute(asked).fetchall() == wanted
    later = datetime.now(UTC) + timedelta(days=2)
    Maintenance(ledger, clock=lambda: later, grace_seconds=0).round()
    assert len(ledger.files()) == 1
    assert connect(tmp_path).execute(asked).fetchall() == wanted
    assert connect(tmp_path).execute("select sum(entries), max(agent) from rollup").fetchone() == (2, "x")
    assert Ledger.open(tmp_path / "entries").mark() == 8


def test_a_newer_table_is_refused_with_what_to_do(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a" * 32, occurred_at=NOON)), mark=1)
    ledger.table.alter.set_table_properties({VERSION: "99"}, raise_if_not_exists=False)
    for opening in (lambda: Ledger.open(tmp_path / "entries"), lambda: connect(tmp_path)):
        with pytest.raises(LedgerError, match=r"schema version 99.*upgrade Spanledger"):
            opening()


def test_a_new_table_says_its_version_and_needs_no_reading_by_name(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "entries")
    table = DeltaTable(str(tmp_path / "entries"))
    assert table.metadata().configuration[VERSION] == str(SCHEMA_VERSION)
    assert not mixed(table)
    assert {field.name for field in table.schema().fields} == set(ENTRIES.names)
