"""`kill -9` in the midst of posting, compaction, roll-up, checkpoints, deletion and retention."""

import random
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest

from spanledger.ledger.connect import connect
from spanledger.ledger.table import Ledger
from tests.ledger import posting
from tests.ledger.sums import assert_equal


@contextmanager
def _posting(folder: Path, *digits: str) -> Generator[list[IO[str]]]:
    """What processes say that post under these digits, once they are on; killed at the end of the block, whatever ends it."""
    with ExitStack() as killed:
        said = []
        for digit in digits:
            child = subprocess.Popen([sys.executable, posting.__file__, str(folder), digit], stdout=subprocess.PIPE, text=True)
            killed.callback(child.communicate)
            killed.callback(child.kill)
            assert child.stdout is not None
            said.append(child.stdout)
        for one in said:
            assert one.readline() == "on\n"
        yield said


def _rounds(folder: Path, kills: int, most_rounds: int) -> int:
    """Kill a process so many times, reading all the while; the mark that it got to."""
    chance, mark = random.Random(kills), 0
    for _ in range(kills):
        with _posting(folder, "") as [said]:
            for _ in range(chance.randint(1, most_rounds)):
                said.readline()
                with connect(folder) as reader:
                    count, last = reader.execute("select count(*), max(entry_id) from entries").fetchone()  # type: ignore[misc]
                    assert_equal(reader)
                assert count <= int(last or "0", 16)
            time.sleep(chance.uniform(0, 0.2))
        reached = Ledger.open(folder).mark()
        assert reached >= mark
        mark = reached
        _assert_exactly_once(folder, mark)
    return mark


def _assert_exactly_once(folder: Path, mark: int) -> None:
    with connect(folder) as connection:
        found = [int(row[0], 16) for row in connection.execute("select entry_id from entries order by all").fetchall()]
        # Of the days that are kept, all; of those before, whatever maintenance has not come to yet, but whole days.
        first = min(found, default=mark + 1)
        assert first == 1 or first % posting.A_DAY == 0
        assert found == list(range(first, mark + 1))
        assert_equal(connection)


def test_a_ledger_survives_being_killed_at_any_moment(tmp_path: Path) -> None:
    assert _rounds(tmp_path / "entries", kills=4, most_rounds=4) >= 16


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_ledger_survives_being_killed_at_two_hundred_moments(tmp_path: Path) -> None:
    assert _rounds(tmp_path / "entries", kills=200, most_rounds=8) > 3 * posting.A_DAY


def _shared(folder: Path, kills: int) -> dict[str, int]:
    """Two processes with a journal each post into one ledger and keep it, and are killed so many times; the marks they got to."""
    chance, marks = random.Random(kills), {"1": 0, "2": 0}
    for _ in range(kills):
        with _posting(folder, *marks) as both:
            for said in both:
                assert int(said.readline()) < int(said.readline())
            time.sleep(chance.uniform(0, 0.3))
        for digit in marks:
            reached = Ledger.open(folder, journal=digit).mark()
            assert reached > marks[digit]
            marks[digit] = reached
        with connect(folder) as connection:
            found = [row[0] for row in connection.execute("select entry_id from entries order by all").fetchall()]
            assert_equal(connection)
        assert found == [f"{digit}{mark:031x}" for digit, last in marks.items() for mark in range(1, last + 1)]
    return marks


def test_two_processes_over_one_ledger_post_each_entry_once_whenever_they_are_killed(tmp_path: Path) -> None:
    _shared(tmp_path / "entries", kills=3)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_processes_over_one_ledger_survive_a_hundred_kills(tmp_path: Path) -> None:
    assert min(_shared(tmp_path / "entries", kills=100).values()) > 5 * posting.A_DAY
