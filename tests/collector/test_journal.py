"""What the journal keeps, and how it refuses."""

import asyncio
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.collector.journal.file import JournalError
from spanledger.collector.journal.journal import Journal
from spanledger.collector.receive.refused import Busy
from spanledger.collector.received import Received

MIB = 1024 * 1024


def body(content: bytes, **named: Any) -> Received:
    plain: dict[str, Any] = {"signal": "traces", "encoding": "protobuf", "compression": "identity", "api_key_id": ""}
    return Received(
        sequence=0, received_at=datetime(2026, 3, 5, 12, 0, 0, 123456, tzinfo=UTC), body=content, **{**plain, **named}
    )


def append(journal: Journal, *bodies: Received) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(journal.append(one) for one in bodies))

    asyncio.run(all_at_once())


def test_a_body_comes_back_as_it_was_received(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    one = body(b"\x1f\x8b\x00", signal="logs", encoding="json", compression="gzip", api_key_id="key-7")
    append(journal, one)
    journal.close()
    again = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    [found] = again.take(0, enough_bytes=MIB)
    assert found == Received(
        sequence=1,
        received_at=one.received_at,
        signal="logs",
        encoding="json",
        compression="gzip",
        body=one.body,
        api_key_id="key-7",
    )
    assert (again.bodies, again.bytes) == (1, 3)
    again.close()


def test_bodies_are_taken_in_order_and_in_portions(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, *(body(bytes([n]) * 100) for n in range(10)))
    first = journal.take(0, enough_bytes=250)
    rest = journal.take(first[-1].sequence, enough_bytes=MIB)
    assert [len(first), len(rest)] == [3, 7]
    assert [one.sequence for one in (*first, *rest)] == list(range(1, 11))
    journal.close()


def test_past_its_limit_the_journal_refuses_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=250)
    append(journal, body(bytes(100)), body(bytes(100)))
    with pytest.raises(Busy, match="full") as refused:
        append(journal, body(bytes(100)))
    assert refused.value.retry_after_seconds > 0
    assert len(journal.take(0, enough_bytes=MIB)) == 2
    journal.drop(2)
    journal.flush()
    append(journal, body(bytes(100)))
    assert (journal.bodies, journal.bytes) == (1, 100)
    journal.close()


def test_numbers_are_never_given_twice_even_when_the_file_was_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, body(b"a"), body(b"b"))
    journal.drop(2)
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, body(b"c"))
    assert [one.sequence for one in journal.take(0, enough_bytes=MIB)] == [3]
    journal.close()
    fresh = Journal(tmp_path / "another.sqlite", limit_bytes=MIB, above=90)
    append(fresh, body(b"d"))
    assert [one.sequence for one in fresh.take(90, enough_bytes=MIB)] == [91]
    fresh.close()


def test_what_the_ledger_has_is_dropped_at_the_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, *(body(b"x") for _ in range(5)))
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB, above=3)
    assert [one.sequence for one in journal.take(0, enough_bytes=MIB)] == [4, 5]
    journal.close()


def test_a_body_set_aside_stops_nobody_and_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, body(b"good"), body(b"bad"), body(b"good"))
    journal.set_aside(2, "no OTLP")
    assert [one.sequence for one in journal.take(0, enough_bytes=MIB)] == [1, 3]
    assert journal.count_set_aside() == 1
    journal.close()


def test_what_our_own_fault_set_aside_is_tried_again_at_the_next_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, body(b"garbage"), body(b"our bug"))
    journal.set_aside(1, "no OTLP")
    journal.set_aside(2, "KeyError", ours=True)
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB, above=2)
    assert [(one.sequence, one.body) for one in journal.take(2, enough_bytes=MIB)] == [(3, b"our bug")]
    assert journal.count_set_aside() == 1
    journal.close()


def test_a_body_whose_bytes_changed_on_disk_is_noticed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, body(b"one"), body(b"two"))
    with sqlite3.connect(tmp_path / "journal.sqlite") as other:
        other.execute("update bodies set body = x'746f77' where sequence = 2")
    other.close()
    assert [one.body for one in journal.take(0, enough_bytes=MIB)] == [b"one"]
    assert journal.count_set_aside() == 1
    journal.close()


def test_a_file_that_is_no_journal_is_kept_aside_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"this is not a database" * 1000)
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, body(b"x"))
    journal.close()
    assert "the journal is damaged" in caplog.text
    [kept] = tmp_path.glob("journal.damaged-*.sqlite")
    assert kept.read_bytes().startswith(b"this is not")


def test_a_folder_that_cannot_hold_a_journal_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"nowhere/journal\.sqlite"):
        Journal(tmp_path / "nowhere" / "journal.sqlite", limit_bytes=MIB)


@given(st.integers(min_value=1, max_value=40))
@settings(max_examples=10, deadline=None)
def test_of_a_journal_cut_short_the_intact_bodies_go_on(pages_cut: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        journal = Journal(path, limit_bytes=100 * MIB)
        sent = [bytes([n]) * 30_000 for n in range(20)]
        for one in sent:  # alone, so that it is kept in its row
            append(journal, body(one))
        journal.close()
        size = path.stat().st_size
        os.truncate(path, max(16384, size - pages_cut * 16384))
        journal = Journal(path, limit_bytes=100 * MIB)
        found = [one.body for one in journal.take(0, enough_bytes=100 * MIB)]
        append(journal, body(b"new"))
        journal.close()
        assert all(one in sent for one in found)
        assert len(found) >= 20 - 2 * pages_cut - 1


@given(st.data(), st.booleans())
@settings(max_examples=15, deadline=None)
def test_bytes_flipped_on_disk_never_reach_the_ledger_as_if_they_were_received(data: st.DataObject, in_rows: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        journal = Journal(path, limit_bytes=100 * MIB)
        sent = [bytes([n]) * 30_000 for n in range(10)]
        for group in [[one] for one in sent] if in_rows else [sent]:
            append(journal, *map(body, group))
        journal.close()
        files = [path, *sorted(Path(folder).glob("journal.bodies/*"))]
        # How long they are is not the same in every run, which the search for a smaller example must not depend on.
        damaged = files[data.draw(st.integers(0, 99)) % len(files)]
        written = bytearray(damaged.read_bytes())
        at = data.draw(st.integers(0, 2**24)) % len(written)
        written[at : at + 8] = bytes(byte ^ 0xFF for byte in written[at : at + 8])
        damaged.write_bytes(written)
        try:
            journal = Journal(path, limit_bytes=100 * MIB)
        except JournalError:
            return
        try:
            found = [one.body for one in journal.take(0, enough_bytes=100 * MIB)]
        except sqlite3.DatabaseError:
            found = []
        journal.close()
        assert all(one in sent for one in found)
