"""A backup that is made while telemetry comes in, and what a collector makes of it."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from spanledger.collector.backup import MANIFEST, BackupError, back_up, restore
from spanledger.collector.journal.copying import with_its_bodies
from spanledger.collector.journal.journal import Journal
from spanledger.ledger.connect import connect
from spanledger.ledger.table import Ledger
from tests.collector.made import running, stored
from tests.collector.test_journal import MIB, append, body
from tests.collector.test_loop import collected
from tests.collector.test_restart import Load
from tests.ledger.made import entries, entry


def test_a_backup_under_load_holds_what_was_acknowledged_before_it_once(tmp_path: Path) -> None:
    data, kept, again = tmp_path / "data", tmp_path / "kept", tmp_path / "again"
    with running(data) as collector:
        load = Load(collector)
        time.sleep(0.7)
        before = list(load.acknowledged)
        said = back_up(data, kept)
        time.sleep(0.3)
        load.stop()
        assert collector.stop() == 0
    assert restore(kept, again) == said
    assert len(stored(again)) == said["entries"]
    assert collected(again).unfinished == []
    found = stored(again)
    assert len(found) == len(set(found))
    assert set(before) <= set(found) <= set(load.sent)
    # The source went on undisturbed.
    assert set(load.acknowledged) <= set(stored(data))


def test_a_backup_is_what_the_ledger_was_then(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "data" / "entries")
    for number in range(5):
        ledger.post(entries(entry(f"{number:032x}", tenant=f"t{number}")), mark=number + 1)
    said = back_up(tmp_path / "data", tmp_path / "kept")
    ledger.post(entries(entry("f" * 32)), mark=6)
    restore(tmp_path / "kept", tmp_path / "again")
    assert (said["entries"], said["mark"]) == (5, 5)
    everything = "select * exclude (tags, other_meters) from entries where entry_id < 'f' order by all"
    assert connect(tmp_path / "again").execute(everything).fetchall() == connect(tmp_path / "data").execute(everything).fetchall()
    assert Ledger.open(tmp_path / "again" / "entries").mark() == 5


def test_what_waits_in_the_journal_is_carried_also_when_it_is_dropped_meanwhile(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Ledger.open(data / "entries").post(entries(entry("a" * 32)), mark=1)
    journal = Journal(data / "journal.sqlite", limit_bytes=100 * MIB, above=1)
    sent = [bytes([number]) * 200_000 for number in (1, 2, 3, 4)]
    append(journal, *map(body, sent))
    append(journal, body(b"small"))
    back_up(data, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "again")
    copied = Journal(tmp_path / "again" / "journal.sqlite", limit_bytes=100 * MIB, above=1)
    assert [(one.sequence, one.body) for one in copied.take(0, enough_bytes=100 * MIB)] == [
        *enumerate([*sent, b"small"], start=2)
    ]
    copied.close()

    rows = tmp_path / "copy.sqlite"  # as it is while a backup is made: the rows are copied, and then bodies go
    with closing(sqlite3.connect(data / "journal.sqlite")) as source, closing(sqlite3.connect(rows)) as target:
        source.backup(target)
    journal.set_aside(3, "no OTLP")
    journal.drop(6)
    append(journal, body(sent[0]))
    [first, *_] = (data / "journal.bodies").iterdir()
    first.write_bytes(bytes(first.stat().st_size))
    with_its_bodies(rows, data / "journal.sqlite")
    copied = Journal(rows, limit_bytes=100 * MIB)
    assert [one.body for one in copied.take(0, enough_bytes=MIB)] == [b"small"]
    copied.close()
    with closing(sqlite3.connect(rows)) as copy:
        [aside] = copy.execute("select sequence, body, reason from set_aside").fetchall()
    assert aside == (3, sent[1], "no OTLP")
    journal.close()


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "data" / "entries").post(entries(entry("a" * 32)), mark=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(BackupError, match="full is not empty"):
        back_up(tmp_path / "data", tmp_path / "full")
    back_up(tmp_path / "data", tmp_path / "kept")
    with pytest.raises(BackupError, match="data is not empty"):
        restore(tmp_path / "kept", tmp_path / "data")


def test_half_a_backup_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "data" / "entries")
    ledger.post(entries(entry("a" * 32)), mark=1)
    back_up(tmp_path / "data", tmp_path / "kept")
    [file] = (tmp_path / "kept").glob("entries/day=*/*.parquet")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(BackupError, match=file.name):
        restore(tmp_path / "kept", tmp_path / "again")
    assert not any((tmp_path / "again").iterdir())
    (tmp_path / "kept" / MANIFEST).unlink()
    with pytest.raises(BackupError, match="no finished backup"):
        restore(tmp_path / "kept", tmp_path / "new")
    Path(ledger.files()[0]).unlink()
    with pytest.raises(BackupError, match="is missing"):
        back_up(tmp_path / "data", tmp_path / "other")
