"""The table of columns in docs/sql.md, made from the schema. `python -m tests.analytics.column_table` writes it there."""

from pathlib import Path

from spanledger.ledger.connect import duckdb_types
from spanledger.ledger.schema import GROUPS

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
MARK = "<!-- columns: made from ledger/schema.py by `python -m tests.analytics.column_table` -->\n"


def column_table() -> str:
    """All columns of an entry by group, in Markdown."""
    types = duckdb_types()
    lines = []
    for group, columns in GROUPS.items():
        lines += ["", f"### {group[0].upper()}{group[1:]}", "", "| column | type | says |", "|---|---|---|"]
        for column in columns:
            says = column.metadata[b"says"].decode() + ("" if column.nullable else "; never null")
            lines.append(f"| `{column.name}` | {types[column.name]} | {says} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with today's table after the mark."""
    return page.split(MARK)[0] + MARK + column_table()


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
