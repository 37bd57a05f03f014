"""Large bodies, which stand in files beside the journal's SQLite."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.collector.journal import segments
from spanledger.collector.journal.journal import Journal
from spanledger.collector.journal.segments import sum_of
from spanledger.collector.journal.set_aside import retry
from spanledger.collector.receive.refused import Busy
from tests.collector.test_journal import MIB, append, body

#: More than a group that is kept in its rows.
LARGE = 100_000
SENT = [bytes([n]) * LARGE for n in range(1, 6)]

#: The journal's tables before there were segments.
BEFORE_SEGMENTS = """
create table bodies (
    sequence integer primary key autoincrement, received_at integer not null, signal text not null, encoding text not null,
    compression text not null, api_key_id text not null, checksum integer not null, body blob not null,
    again integer not null default 0);
create table marks (reader text primary key, mark integer not null);
create table set_aside (
    sequence integer primary key, received_at integer not null, signal text not null, encoding text not null,
    compression text not null, api_key_id text not null, checksum integer not null, body blob not null, reason text not null,
    again integer not null, at integer not null);
insert into bodies values (7, 1772711999123456, 'traces', 'protobuf', 'gzip', 'key-7', 907060870, cast('hello' as blob), 0);
insert into set_aside values
    (5, 1772711999123456, 'logs', 'json', 'identity', '', 907060870, cast('hello' as blob), 'KeyError', 1, 0);
insert into marks values ('ledger', 6);
"""


def opened(folder: Path, *, above: int = 0) -> Journal:
    return Journal(folder / "journal.sqlite", limit_bytes=500 * MIB, above=above)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal.bodies/*"))


def taken(journal: Journal) -> list[bytes]:
    return [one.body for one in journal.take(0, enough_bytes=500 * MIB)]


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 2 * LARGE)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def test_large_bodies_come_back_as_they_were_received_and_none_is_in_sqlite(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    one = body(SENT[0], signal="logs", encoding="json", compression="gzip", api_key_id="key-7")
    append(journal, body(b"small"), one, body(b""))
    journal.close()
    assert (tmp_path / "journal.sqlite").stat().st_size < 2 * LARGE  # the tables themselves take a page each
    journal = opened(tmp_path)
    _, found, _ = journal.take(0, enough_bytes=MIB)
    assert found == replace(one, sequence=2)
    assert (journal.bodies, journal.bytes) == (3, LARGE + 5)
    journal.close()


def test_a_segment_goes_when_no_body_in_it_waits_and_one_is_written_over(tmp_path: Path, small_segments: None) -> None:
    journal = opened(tmp_path)
    for one in SENT * 2:
        append(journal, body(one))
    assert len(files(tmp_path)) == 5
    journal.drop(5)
    journal.flush()
    assert [path.name for path in files(tmp_path)] == ["00000003", "00000004", "00000005", "spare"]
    append(journal, body(SENT[2]))
    assert [path.name for path in files(tmp_path)] == ["00000003", "00000004", "00000005", "00000006"]
    assert taken(journal) == [*SENT, SENT[2]]
    journal.drop(11)
    journal.close()
    journal = opened(tmp_path)
    assert (taken(journal), journal.bytes, [path.name for path in files(tmp_path)]) == ([], 0, ["spare"])
    journal.close()


def test_what_a_crash_left_behind_the_last_row_is_spoken_of_by_nobody(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    append(journal, *map(body, SENT))
    journal.close()
    with files(tmp_path)[0].open("ab") as segment:
        segment.write(os.urandom(LARGE // 2))
    (tmp_path / "journal.bodies" / "00000002").write_bytes(SENT[0])
    journal = opened(tmp_path)
    assert len(files(tmp_path)) == 1
    append(journal, body(SENT[0]))
    assert taken(journal) == [*SENT, SENT[0]]
    assert journal.count_set_aside() == 0
    journal.close()


@given(st.integers(min_value=0, max_value=5 * LARGE + 1000))
@settings(max_examples=15, deadline=None)
def test_of_a_segment_cut_short_the_intact_bodies_go_on_and_the_others_are_set_aside(left: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal = opened(folder)
        append(journal, *map(body, SENT))
        journal.close()
        [segment] = files(folder)
        os.truncate(segment, min(left, segment.stat().st_size))
        journal = opened(folder)
        found = taken(journal)
        assert found == SENT[: len(found)]
        assert len(found) >= left // (LARGE + 100)
        assert journal.count_set_aside() == 5 - len(found)
        retry(folder)
        assert journal.try_again() == 5 - len(found)
        assert taken(journal) == found  # a damaged body stays one
        journal.close()


def test_a_segment_that_is_gone_stops_nobody(tmp_path: Path, small_segments: None) -> None:
    journal = opened(tmp_path)
    for one in SENT:
        append(journal, body(one))
    files(tmp_path)[0].unlink()
    assert taken(journal) == SENT[2:]
    assert journal.count_set_aside() == 2
    journal.close()


@pytest.mark.parametrize("lost", ["deleted", "overwritten", "cut"])
def test_when_the_rows_are_lost_the_segments_say_what_waits(tmp_path: Path, lost: str) -> None:
    """But not what the ledger has, nor what a sender wrote into a body to look like another one."""
    journal = opened(tmp_path)
    append(journal, *map(body, SENT))
    [segment] = files(tmp_path)
    heading = segment.read_bytes()[8 : segment.read_bytes().index(SENT[0])]
    append(journal, body(b"\0" * LARGE + heading + SENT[4], api_key_id="key-7"))
    journal.close()
    path = tmp_path / "journal.sqlite"
    if lost == "deleted":
        path.unlink()
    elif lost == "cut":
        os.truncate(path, 16384)
    else:
        path.write_bytes(b"this is not a database" * 1000)
    with segment.open("r+b") as damaged:  # the heading of the last body, so that what is in it is looked at
        damaged.seek(segment.read_bytes().index(b"key-7"))
        damaged.write(b"key-8")
    journal = opened(tmp_path, above=2)
    assert [(one.sequence, one.body) for one in journal.take(2, enough_bytes=MIB)] == list(enumerate(SENT, start=1))[2:]
    append(journal, body(SENT[0]))
    assert taken(journal)[3:] == [SENT[0]]
    journal.close()


def test_a_large_body_is_set_aside_whole_and_comes_back(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    append(journal, *map(body, SENT))
    journal.set_aside(2, "KeyError", ours=True)
    journal.drop(5)
    journal.close()
    assert files(tmp_path)[0].stat().st_size > 5 * LARGE  # its bodies are gone at the next start
    journal = opened(tmp_path, above=5)
    assert files(tmp_path) == []
    assert [(one.sequence, one.body) for one in journal.take(5, enough_bytes=MIB)] == [(6, SENT[1])]
    append(journal, body(SENT[0]))
    assert [one.sequence for one in journal.take(6, enough_bytes=MIB)] == [7]
    journal.close()


def test_a_journal_of_before_there_were_segments_is_taken_over(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as older:
        older.executescript(f"pragma page_size = 65536; pragma journal_mode = wal; {BEFORE_SEGMENTS}")
    journal = opened(tmp_path, above=6)
    append(journal, body(SENT[0]))
    found = journal.take(6, enough_bytes=MIB)
    assert [(one.sequence, one.body) for one in found] == [(7, b"hello"), (8, b"hello"), (9, SENT[0])]
    assert (found[0].compression, found[0].api_key_id, found[1].signal) == ("gzip", "key-7", "logs")
    assert (journal.bodies, journal.bytes, journal.count_set_aside()) == (3, LARGE + 10, 0)
    journal.drop(9)
    journal.flush()
    assert (journal.bodies, journal.bytes) == (0, 0)
    journal.close()


def test_a_full_disk_refuses_keeps_what_it_has_and_takes_again_when_there_is_room(small_disk: Path) -> None:
    journal = opened(small_disk)
    sent = [bytes([number]) * 500_000 for number in range(10)]
    acknowledged: list[bytes] = []

    def fill() -> None:
        for one in sent:
            append(journal, body(one))
            acknowledged.append(one)

    with pytest.raises(Busy, match="cannot be written"):
        fill()
    assert len(acknowledged) >= 3
    assert files(small_disk)[0].stat().st_size < 500_100 * len(acknowledged)
    assert taken(journal) == acknowledged
    journal.drop(len(acknowledged))
    journal.flush()
    append(journal, body(SENT[0]), body(sent[0]))
    journal.close()
    journal = opened(small_disk)
    assert taken(journal) == [SENT[0], sent[0]]
    assert journal.count_set_aside() == 0
    journal.close()


def test_bodies_whose_rows_cannot_be_written_are_refused_and_take_no_room(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    append(journal, body(SENT[0]))
    before = files(tmp_path)[0].stat().st_size
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as other:
        other.execute("create trigger no before insert on bodies begin select raise(abort, 'no room'); end")
        with pytest.raises(Busy, match="no room"):
            append(journal, *map(body, SENT))
        assert [path.stat().st_size for path in files(tmp_path)] == [before]
        other.execute("drop trigger no")
    append(journal, body(SENT[1]))
    assert taken(journal) == SENT[:2]
    journal.close()


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_the_sum_of_a_body_tells_every_change_of_a_byte_and_every_swap_of_sectors(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(1, 255))
    assert sum_of(content[:at] + bytes([content[at] ^ other]) + content[at + 1 :]) != sum_of(content)
    first, second = bytes(511) + b"a", bytes(511) + b"b"
    assert sum_of(first + second + content) != sum_of(second + first + content)
