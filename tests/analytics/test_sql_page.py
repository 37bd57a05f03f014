"""docs/sql.md tells the truth: its table is the schema's, and its statements run."""

import re
from pathlib import Path

import pytest

from spanledger.analytics import connect
from tests.analytics.column_table import PAGE, with_table
from tests.analytics.ledgers import call, filled

STATEMENTS = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_table_of_columns_is_the_schemas() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run: python -m tests.analytics.column_table"


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_statement_on_the_page_runs(statement: str, tmp_path: Path) -> None:
    connection = connect(filled(tmp_path, [call(tags=[{"key": "team", "value": "a"}])]))
    assert connection.sql(statement).to_arrow_table().num_columns >= 2
