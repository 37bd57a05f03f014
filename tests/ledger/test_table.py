"""What the ledger keeps, and in which commits."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.table import Ledger, LedgerError
from tests.ledger.made import NOON, entries, entry


def test_a_batch_is_one_commit_that_carries_the_mark(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    assert ledger.mark() == 0
    version = ledger.version()
    ledger.post(entries(entry("a"), entry("b", occurred_at=NOON - timedelta(days=3))), mark=41)
    assert ledger.version() == version + 1
    assert len(ledger.files()) == 2
    assert Ledger.open(tmp_path / "entries").mark() == 41


def test_a_posting_without_a_mark_leaves_the_mark_alone(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a")), mark=7)
    ledger.post(entries(entry("b")), mark=None)
    assert ledger.mark() == 7


def test_nothing_to_post_makes_no_commit(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    assert ledger.post(ENTRIES.empty_table(), mark=None) is False
    assert ledger.version() == 0


def test_a_mark_is_kept_without_entries(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(ENTRIES.empty_table(), mark=9)
    assert Ledger.open(tmp_path / "entries").mark() == 9
    assert ledger.files() == []


def test_a_batch_posted_again_under_its_mark_is_in_once(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    assert ledger.post(entries(entry("a")), mark=5) is True
    assert ledger.post(entries(entry("a")), mark=5) is False
    assert len(ledger.files()) == 1


def test_two_writers_do_not_lose_each_others_entries(tmp_path: Path) -> None:
    one, two = Ledger.open(tmp_path / "entries"), Ledger.open(tmp_path / "entries")
    one.post(entries(entry("a")), mark=1)
    two.post(entries(entry("b")), mark=None)
    one.post(entries(entry("c")), mark=2)
    assert pa.concat_tables([pa.parquet.read_table(path) for path in one.files()]).num_rows == 3
    assert two.mark() == 2


def test_a_folder_that_holds_a_broken_log_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "entries"
    Ledger.open(folder)
    (folder / "_delta_log" / f"{0:020}.json").write_text("{ not json")
    with pytest.raises(LedgerError, match="entries"):
        Ledger.open(folder)


def test_two_journals_have_marks_of_their_own_in_one_ledger(tmp_path: Path) -> None:
    one, two = Ledger.open(tmp_path, journal="one"), Ledger.open(tmp_path, journal="two")
    assert one.post(entries(entry("a")), mark=7)
    assert two.post(entries(entry("b")), mark=3)
    assert not two.post(entries(entry("b")), mark=3)
    assert (one.mark(), two.mark(), Ledger.open(tmp_path).mark()) == (7, 3, 0)
    assert len(one.files()) == 2
