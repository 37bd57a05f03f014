"""Every command explains itself, at once."""

import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from spanledger.cli.commands import app

COMMANDS = ("up", "demo", "sql", "doctor", "serve", "dashboard", "check-config", "journal")


def help_of(*command: str) -> str:
    outcome = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "120"})
    assert outcome.exit_code == 0
    return outcome.output


def test_the_list_of_commands_names_each_and_says_what_it_does() -> None:
    text = help_of()
    for command in COMMANDS:
        line = next(line for line in text.splitlines() if line.split()[:1] == [command])
        assert len(line.split()) > 3
        assert not line.endswith("...")


def all_commands() -> list[tuple[str, ...]]:
    def below(group: TyperGroup, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for name, command in group.commands.items():
            found += below(command, (*path, name)) if isinstance(command, TyperGroup) else [(*path, name)]
        return found

    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return below(root, ())


@pytest.mark.parametrize("path", all_commands(), ids=" ".join)
def test_every_option_of_every_command_is_explained(path: tuple[str, ...]) -> None:
    command = typer.main.get_command(app)
    for name in path:
        assert isinstance(command, TyperGroup)
        command = command.commands[name]
    assert command.help
    silent = [
        parameter.name
        for parameter in command.params
        if not getattr(parameter, "help", None) and not getattr(parameter, "hidden", False)
    ]
    assert silent == []
    assert " ".join(command.help.split()[:8]) in " ".join(help_of(*path).split())


def test_asking_for_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, spanledger.cli.commands; "
        "print([m for m in ('duckdb', 'polars', 'pyarrow', 'deltalake', 'streamlit', 'fastapi', 'uvicorn', 'grpc', 'pydantic',"
        " 'rich', 'sqlalchemy', 'genai_prices', 'opentelemetry', 'openai', 'anthropic') if m in sys.modules])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert outcome.stdout.strip() == "[]"


def test_an_unknown_command_is_refused_in_one_line() -> None:
    outcome = CliRunner().invoke(app, ["bogus"])
    assert outcome.exit_code == 2
    assert "No such command 'bogus'" in outcome.output


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"spanledger {version('spanledger')}"
