"""How the tree is laid out: namespaces, names and sizes."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.repository.skeleton import ROOT, SOURCE_ROOTS


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository that match, whether committed yet or not, ignored ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def sources() -> list[Path]:
    return tracked(*(f"{root}/**/*.py" for root in SOURCE_ROOTS), *(f"{root}/*.py" for root in SOURCE_ROOTS))


def test_the_namespace_has_no_init_in_any_root() -> None:
    assert [path for path in tracked("*.py") if path.name == "__init__.py" and path.parent.name == "spanledger"] == []


def test_no_file_is_named_after_nothing() -> None:
    says_nothing = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers"}
    assert [str(path) for path in tracked("*.py") if path.stem in says_nothing] == []


def test_a_file_of_code_is_one_idea() -> None:
    long = {str(path.relative_to(ROOT)): lines for path in sources() if (lines := path.read_text().count("\n")) > 400}
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.read_text().strip()
        and "migrations/versions" not in str(path)
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


#: Words that `docs/words.md` gives another word for, as parts of names of our own. (Provider clients and libraries keep theirs.)
FORBIDDEN = {"vendor", "quota", "reservation", "budget"}


def names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def words_of(name: str) -> set[str]:
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_the_code_uses_the_words_of_the_glossary() -> None:
    strange = {f"{path.relative_to(ROOT)}: {name}" for path in sources() for name in names(path) if words_of(name) & FORBIDDEN}
    assert strange == set()


def test_every_folder_of_tests_mirrors_a_part() -> None:
    parts = {path.name for path in ROOT.glob("*/spanledger/*") if path.is_dir()}
    parts |= {"repository", "end_to_end", "clients", "dialects"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders - parts == set()
