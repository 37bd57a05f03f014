"""Bodies that were set aside, and the commands over them."""

import gzip
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spanledger.cli.journal import app
from spanledger.collector.journal.journal import Journal
from spanledger.collector.journal.set_aside import drop, retry, set_aside
from tests.collector.made import calls
from tests.collector.test_journal import MIB, append, body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, body(b"\xff\xff"), body(gzip.compress(calls()[0]), compression="gzip"), body(b'{"a": 1}', encoding="json"))
    for sequence in (1, 2, 3):
        journal.set_aside(sequence, f"reason {sequence}")
    journal.close()
    return tmp_path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_list_says_what_each_is_and_why(folder: Path) -> None:
    first, _, _ = set_aside(folder)
    assert (first.received.sequence, first.size, first.reason, first.again) == (1, 2, "reason 1", False)
    shown = run("list", "--data", folder)
    assert "protobuf, gzip" in shown
    assert "reason 3" in shown


def test_a_body_is_shown_as_json_where_it_can_be_read(folder: Path) -> None:
    assert "ffff" in run("show", 1, "--data", folder)
    assert "gpt-4o" in run("show", 2, "--data", folder)
    assert run("show", 3, "--data", folder).strip() == '{"a": 1}'


def test_what_is_dropped_is_gone_and_what_is_retried_comes_back(folder: Path) -> None:
    assert "1 bodies dropped" in run("drop", 1, "--data", folder)
    journal = Journal(folder / "journal.sqlite", limit_bytes=MIB, above=3)
    assert "2 bodies" in run("retry", "--all", "--data", folder)
    assert journal.take(3, enough_bytes=MIB) == []
    assert journal.try_again() == 2
    assert [one.sequence for one in journal.take(3, enough_bytes=MIB)] == [4, 5]
    assert journal.wait(3, patience_seconds=0, gather_seconds=0, enough_bytes=0)
    journal.close()
    assert set_aside(folder) == []


def test_nothing_is_changed_by_accident(folder: Path) -> None:
    for command in ("retry", "drop"):
        assert CliRunner().invoke(app, [command, "--data", str(folder)]).exit_code == 2
    assert (retry(folder, [99]), drop(folder, [99])) == (0, 0)
    assert CliRunner().invoke(app, ["list", "--data", str(folder / "nowhere")]).exit_code == 1
