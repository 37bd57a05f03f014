"""The contracts of pyproject.toml hold, and each can break: a rule that cannot fail proves nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.skeleton import ROOT, SOURCE_ROOTS, skeleton

DOWNWARDS = "packages point downwards"
STEPS = "the collector's folders stand in the order of the data"
LIGHT = "the light part stays light"


def lint_imports(folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / root) for root in SOURCE_ROOTS), "NO_COLOR": "1"}
    # Not through the editable install: `sys.path` must lead to the tree at hand and nowhere else.
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if not p.rstrip('/').endswith(tuple('/' + r for r in "
        f"{SOURCE_ROOTS!r})) or p.startswith({str(folder)!r})]; "
        "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=250)


def test_the_packages_of_the_repository_keep_all_contracts() -> None:
    outcome = lint_imports(ROOT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "3 kept, 0 broken" in outcome.stdout


def test_an_empty_tree_keeps_both_contracts(tmp_path: Path) -> None:
    outcome = lint_imports(skeleton(tmp_path, {}))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("path", "text", "contract"),
    [
        ("collector/spanledger/ledger/planted.py", "import spanledger.cli\n", DOWNWARDS),
        ("collector/spanledger/prices/planted.py", "import spanledger.ledger\n", DOWNWARDS),
        ("collector/spanledger/limits/planted.py", "def late() -> None:\n    import spanledger.analytics\n", DOWNWARDS),
        ("collector/spanledger/api/planted.py", "import spanledger.dashboard\n", DOWNWARDS),
        ("analytics/spanledger/analytics/planted.py", "from spanledger.collector import __doc__\n", DOWNWARDS),
        ("collector/spanledger/collector/decode/planted.py", "import spanledger.collector.journal\n", STEPS),
        (
            "collector/spanledger/collector/recognise/planted.py",
            "def late() -> None:\n    import spanledger.collector.count\n",
            STEPS,
        ),
        ("instrumentation/spanledger/instrumentation/planted.py", "import duckdb\n", LIGHT),
        ("instrumentation/spanledger/instrumentation/planted.py", "def late() -> None:\n    import polars\n", LIGHT),
        ("instrumentation/spanledger/instrumentation/planted.py", "import spanledger.prices\n", LIGHT),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, path: str, text: str, contract: str) -> None:
    outcome = lint_imports(skeleton(tmp_path, {path: text}))
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert f"{contract} BROKEN" in outcome.stdout
    assert "2 kept, 1 broken" in outcome.stdout
