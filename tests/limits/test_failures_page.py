"""The page that says how limits fail elsewhere names tests that are there."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "how-limits-fail.md").read_text()))
    written = {
        name for file in (REPOSITORY / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", file.read_text())
    }
    assert len(named) > 30
    assert named - written == set()
