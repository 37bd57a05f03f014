"""The list of queries and the folder of SQL files are the same thing, and each runs."""

from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest

from spanledger.analytics import Selection, connect
from spanledger.analytics.query import MACROS, QUERIES, Query, run, text_of
from tests.analytics.ledgers import NOON, adjustment, call, filled, reversal

EVERYTHING = Selection(since=NOON - timedelta(days=400), until=NOON + timedelta(days=400))
VALUES: dict[str, Any] = {
    "dimension": "model",
    "top": 10,
    "step": "day",
    "count": 10,
    "outcome": None,
    "time_of_day": timedelta(hours=12),
    "after_at": None,
    "after_id": None,
} | EVERYTHING.bound


def bound_names(name: Query) -> set[str]:
    (statement,) = duckdb.connect().extract_statements(text_of(name))
    return set(statement.named_parameters)


def test_every_query_has_a_file_and_every_file_a_query() -> None:
    found = {Path(file.name).stem for file in (files("spanledger.analytics") / "sql").iterdir() if file.name.endswith(".sql")}
    assert found == {*QUERIES, *MACROS}


@pytest.mark.parametrize("name", [*QUERIES, *MACROS])
def test_a_file_is_one_statement_and_says_first_what_it_promises(name: Query) -> None:
    assert text_of(name).startswith("-- ")
    assert len(duckdb.connect().extract_statements(text_of(name))) == 1


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_runs_on_an_empty_ledger(name: Query, tmp_path: Path) -> None:
    connection = connect(tmp_path / "not there yet")
    assert run(connection, name, **{key: VALUES[key] for key in bound_names(name)}).num_rows in (0, 1)


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_finds_something_in_a_filled_ledger(name: Query, tmp_path: Path) -> None:
    wrong = call("0.03")
    data = filled(
        tmp_path,
        [
            call("0.01"),
            call(None, model="unknown"),
            call("0", outcome="error", error_type="429"),
            wrong,
            reversal(wrong),
            adjustment(call(), "1"),
        ],
    )
    assert run(connect(data), name, **{key: VALUES[key] for key in bound_names(name)}).num_rows > 0


@pytest.mark.parametrize("name", [name for name in QUERIES if "cost_usd" in text_of(name) and name != "latest_calls"])
def test_every_sum_of_money_has_the_unpriced_calls_beside_it(name: Query, tmp_path: Path) -> None:
    columns = run(connect(tmp_path), name, **{key: VALUES[key] for key in bound_names(name)}).column_names
    assert "unpriced" in columns


def test_a_query_reads_only_the_columns_it_needs(tmp_path: Path) -> None:
    connection = connect(filled(tmp_path, [call(), call()]))
    plan = connection.sql("explain " + text_of("totals"), params=EVERYTHING.bound).fetchall()[0][1]
    assert "tags" not in plan
    assert "tenant" not in plan
