"""`spanledger sql`: exact values out, clear words when something is wrong."""

import csv
import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from spanledger.ledger.table import Ledger
from tests.cli.command import environment, here, in_a_process
from tests.ledger.made import entries, entry

BY_MODEL = "select model, sum(calls)::bigint as calls, sum(cost_usd) as usd from entries group by all order by model"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    Ledger.open(folder / "entries").post(
        entries(
            entry("a", model="gpt-4o", cost_usd=Decimal("0.012300000001"), tags=[{"key": "demo", "value": "x"}]),
            entry("b", model="gpt-4o", cost_usd=Decimal("0.000000000002")),
            entry("c", model='a, "quoted" [b]name[/b]', cost_usd=None, cost_state="unpriced"),
        ),
        1,
    )
    return folder


def test_a_table_shows_money_to_the_last_digit(data: Path) -> None:
    outcome = in_a_process("sql", BY_MODEL, "--data", str(data))
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["model", "calls", "usd"]
    assert lines[2].split() == ["a,", '"quoted"', "[b]name[/b]", "1", "null"]
    assert lines[3].split() == ["gpt-4o", "2", "0.012300000003"]
    assert lines[-1] == "(2 rows)"


def test_csv_and_json_carry_the_same_exact_values(data: Path) -> None:
    as_csv = here("sql", BY_MODEL, "--csv", "--data", str(data)).out
    assert list(csv.reader(io.StringIO(as_csv))) == [
        ["model", "calls", "usd"],
        ['a, "quoted" [b]name[/b]', "1", ""],
        ["gpt-4o", "2", "0.012300000003"],
    ]
    as_json = here("sql", BY_MODEL, "--json", "--data", str(data)).out
    assert json.loads(as_json) == [
        {"model": 'a, "quoted" [b]name[/b]', "calls": 1, "usd": None},
        {"model": "gpt-4o", "calls": 2, "usd": "0.012300000003"},
    ]


def test_times_lists_and_maps_have_a_json_form(data: Path) -> None:
    statement = "select occurred_at, day, tags, flags, null as nothing, true as yes from entries where entry_id = 'a'"
    assert json.loads(here("sql", statement, "--json", "--data", str(data)).out) == [
        {
            "occurred_at": "2026-03-05T12:00:00Z",
            "day": "2026-03-05",
            "tags": {"demo": "x"},
            "flags": [],
            "nothing": None,
            "yes": True,
        }
    ]


def test_no_rows_is_an_empty_answer_in_each_form(data: Path) -> None:
    none = "select model from entries where false"
    assert here("sql", none, "--csv", "--data", str(data)).out == "model\n"
    assert json.loads(here("sql", none, "--json", "--data", str(data)).out) == []
    assert "(0 rows)" in here("sql", none, "--data", str(data)).out


def test_a_long_table_says_that_there_is_more(data: Path) -> None:
    outcome = here("sql", "select * from range(500)", "--rows", "10", "--data", str(data))
    assert "first 10 rows" in outcome.out
    assert len(here("sql", "select * from range(5000)", "--csv", "--data", str(data)).out.splitlines()) == 5001


def test_a_statement_comes_from_standard_input_too(data: Path) -> None:
    assert here("sql", "--csv", "--data", str(data), stdin="select 1 as one;").out == "one\n1\n"
    assert here("sql", "-", "--csv", "--data", str(data), stdin="select 2 as two").out == "two\n2\n"


def test_the_control_tables_are_there_too(data: Path) -> None:
    assert here("sql", "select count(*) as n from limits", "--csv", "--data", str(data)).out == "n\n0\n"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("select * from nowhere", "nowhere does not exist"),
        ("select nothing_like_it from entries", 'Referenced column "nothing_like_it" not found'),
        ("selec 1", "syntax error"),
    ],
)
def test_a_wrong_statement_is_explained_without_a_traceback(data: Path, statement: str, said: str) -> None:
    outcome = here("sql", statement, "--data", str(data))
    assert outcome.code == 1
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_wrong_options_are_refused_with_what_to_do(data: Path, tmp_path: Path) -> None:
    assert "exclude each other" in here("sql", "select 1", "--csv", "--json", "--data", str(data)).err
    missing = here("sql", "select 1", "--data", str(tmp_path / "missing"))
    assert missing.code == 1
    assert "spanledger up" in missing.err
    file = tmp_path / "file"
    file.touch()
    assert "is a file, not a folder" in here("sql", "select 1", "--data", str(file)).err
    assert "no statement" in here("sql", "--data", str(data), stdin="  ").err


class Terminal:
    """The prompt on a pseudo-terminal of its own."""

    def __init__(self, data: Path, home: Path) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spanledger.cli", "sql", "--data", str(data)],
            stdin=theirs, stdout=theirs, stderr=theirs, env={**environment(home), "TERM": "dumb"}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def say(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, text: str) -> str:
        """What was printed since the last time, up to and with `text`."""
        end = time.monotonic() + 60
        while text.encode() not in self._seen:
            assert time.monotonic() < end, self._seen.decode()
            if select.select([self._ours], [], [], 0.5)[0]:
                self._seen += os.read(self._ours, 65_536)
        before, _, self._seen = self._seen.partition(text.encode())
        return before.decode() + text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self._ours)


@pytest.fixture
def terminal(data: Path, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(data, tmp_path)
    yield made
    made.close()


def test_the_prompt_runs_statements_and_stays_after_a_wrong_one(terminal: Terminal, data: Path, tmp_path: Path) -> None:
    terminal.until("ledger> ")
    terminal.say("select sum(calls)::bigint\nas all_of_them from entries;\n")
    assert "3" in terminal.until("(1 row)")
    terminal.until("ledger> ")
    terminal.say("select * from nowhere;\n")
    assert "does not exist" in terminal.until("ledger> ")
    terminal.say(".help\n")
    assert ".columns" in terminal.until("ledger> ")
    terminal.say(".mode json\n")
    terminal.until("ledger> ")
    terminal.say("select 41 + 1 as answer;\n")
    assert '{"answer": 42}' in terminal.until("ledger> ")
    terminal.say(".bogus\n")
    assert "not understood" in terminal.until("ledger> ")
    # What is posted while the prompt is open is there in the next statement.
    Ledger.open(data / "entries").post(entries(entry("late", model="late-model")), 2)
    terminal.say("select count(*) as late from entries where model = 'late-model';\n")
    assert '{"late": 1}' in terminal.until("ledger> ")
    terminal.say(".quit\n")
    assert terminal.process.wait(30) == 0
    assert "answer" in (tmp_path / "spanledger" / "sql-history").read_text()
