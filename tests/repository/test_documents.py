"""What the documents say exists: files, commands, options, variables, statements, names to import."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from spanledger.cli.commands import app
from tests.repository.skeleton import ROOT
from tests.repository.test_tree import tracked

PAGES = [path for path in tracked("*.md") if path.exists()]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def console_lines(page: Path) -> Iterator[list[str]]:
    """The words of every command a page shows, comments left out."""
    for block in blocks(page, "console"):
        for command in re.split(r"^\$ ", block, flags=re.M)[1:]:
            yield shlex.split(command, comments=True)


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z-]+)`", page.read_text())) | {
        words[1] for words in console_lines(page) if words[:1] == ["make"] and len(words) > 1
    }
    assert named - targets == set()


def options_of(words: list[str]) -> set[str]:
    command = typer.main.get_command(app)
    for word in words:
        if isinstance(command, TyperGroup) and word in command.commands:
            command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}


@each_page
def test_every_spanledger_command_and_its_options_exist(page: Path) -> None:
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    shown = [words[1:] for words in console_lines(page) if words[:1] == ["spanledger"]]
    shown += [shlex.split(found) for found in re.findall(r"`spanledger ([^`…]+)`", page.read_text())]
    for words in shown:
        assert words[0] in root.commands or words[0].startswith("-"), words
        assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} - options_of(words) == set()


@each_page
def test_every_python_block_is_python_and_imports_what_exists(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spanledger"):
                module = __import__(node.module or "", fromlist=["_"])
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@each_page
def test_every_yaml_and_json_block_is_well_formed(page: Path) -> None:
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block)
    for block in blocks(page, "json"):
        assert json.loads(block)


@each_page
def test_every_variable_of_ours_is_one_that_the_code_reads(page: Path) -> None:
    named = set(re.findall(r"\bSPANLEDGER_[A-Z_]+\b", page.read_text()))
    read = {
        found for path in tracked("*/spanledger/**/*.py") for found in re.findall(r"\bSPANLEDGER_[A-Z_]+\b", path.read_text())
    }
    assert named - read == set()


def statements(page: Path) -> Iterator[str]:
    for words in console_lines(page):
        if words[:2] == ["spanledger", "sql"]:
            yield from (word for word in words[2:] if " " in word)


def test_every_statement_of_the_readme_runs_on_an_empty_ledger(tmp_path: Path) -> None:
    from spanledger.analytics import connect

    shown = list(statements(ROOT / "README.md"))
    assert shown
    for statement in shown:
        connect(tmp_path).execute(statement)


def test_the_limit_of_the_readme_is_one() -> None:
    from spanledger.api.models import LimitBody

    [words] = [words for words in console_lines(ROOT / "README.md") if words[0] == "curl" and "-d" in words]
    body = json.loads(words[words.index("-d") + 1])
    assert LimitBody.model_validate(body).given() == body
