"""mypy looks at every root: with the wrong settings it checks one of four and says that all is well."""

import subprocess
import sys
from pathlib import Path

from tests.repository.skeleton import packages, skeleton

WRONG = "def answer() -> int:\n    return 'no number'\n"


def test_a_planted_error_in_each_package_is_found(tmp_path: Path) -> None:
    planted = [f"{package}/planted.py" for package in packages()] + ["tests/planted.py", "bench/planted.py"]
    folder = skeleton(tmp_path, dict.fromkeys(planted, WRONG))
    outcome = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    found = {line.split(":")[0] for line in outcome.stdout.splitlines() if "[return-value]" in line}
    assert found == set(planted)


def test_every_package_tells_type_checkers_that_it_is_typed() -> None:
    from tests.repository.skeleton import ROOT

    assert [str(package) for package in packages() if not (ROOT / package / "py.typed").exists()] == []
    # `spanledger.auto` stands in the namespace itself, which needs a marker of its own in one root.
    assert (ROOT / "instrumentation/spanledger/py.typed").exists()
