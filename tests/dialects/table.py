"""The table of dialects as docs/dialects.md shows it: run this file to bring it up to date."""

from pathlib import Path

from spanledger.collector.dialects import DIALECTS
from spanledger.collector.dialects.dialect import Dialect
from spanledger.collector.recognise.usage import FLAGS

PAGE = Path(__file__).parents[2] / "docs" / "dialects.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def rows() -> str:
    """One line for each dialect, in the order in which they are tried."""
    head = "| dialect | told by | cached input | reasoning | never exported |\n|---|---|---|---|---|\n"
    return head + "".join(_line(dialect) for dialect in DIALECTS)


def _line(dialect: Dialect) -> str:
    told = [f"scope `{scope}`" for scope in dialect.scopes[:3]] + [f"`{marker}`" for marker in dialect.markers[:2]]
    more = len(dialect.scopes) + len(dialect.markers) - len(told)
    told += [f"span `{span}`" for span in dialect.spans]
    versions = dialect.versions if len(dialect.versions) < 8 else (dialect.versions[0], "…", dialect.versions[-1])
    version = f" version {', '.join(versions)}" if versions else ""
    cells = (
        f"`{dialect.name}`",
        ", ".join(told) + (f" and {more} more" if more else "") + version,
        ", ".join(f"{family}: {where}" for family, where in dialect.cache.items()),
        ", ".join(f"{family}: {where}" for family, where in dialect.reasoning.items()),
        ", ".join(dialect.loses) or "–",
    )
    return f"| {' | '.join(cell.replace('*:', 'others:') for cell in cells)} |\n"


def page() -> str:
    """The page with the table as it is now."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    return before + BEGIN + rows() + END + rest.split(END)[1]


def flags_missing() -> list[str]:
    """Flags that the page does not explain."""
    return [flag for flag in (*FLAGS, "cumulative") if f"`{flag}`" not in PAGE.read_text()]


if __name__ == "__main__":
    PAGE.write_text(page())
