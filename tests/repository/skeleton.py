"""A tree with the repository's own settings and nearly nothing in it, in which a fault can be planted and found in a second."""

import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("instrumentation", "collector", "analytics", "dashboard")


def settings() -> dict[str, object]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages() -> list[Path]:
    """The import packages of the four roots, relative to the repository: instrumentation/spanledger/instrumentation …"""
    return sorted(
        folder.relative_to(ROOT)
        for root in SOURCE_ROOTS
        for folder in (ROOT / root / "spanledger").iterdir()
        if (folder / "__init__.py").exists()
    )


def skeleton(folder: Path, planted: dict[str, str]) -> Path:
    """The repository's settings and all its packages, each empty but for the files planted there (path → text)."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in packages():
        for found in (ROOT / package).rglob("__init__.py"):
            within = folder / found.relative_to(ROOT)
            within.parent.mkdir(parents=True, exist_ok=True)
            within.write_text('"""Empty."""\n')
        (folder / package / "py.typed").touch()
    for extra in ("tests", "bench"):
        (folder / extra).mkdir()
        (folder / extra / "empty.py").touch()
    for path, text in planted.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder
