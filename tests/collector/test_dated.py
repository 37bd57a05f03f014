"""When the ledger learns of entries: never before they can be seen."""

import logging
from datetime import UTC, date, datetime, timedelta

import pytest

from spanledger.collector.dated import Dated, Dating
from spanledger.ledger.schema import ENTRIES

NOW = datetime(2026, 11, 25, 23, 59, 59, tzinfo=UTC)
ROW = {"entry_id": "0" * 32, "day": date(2026, 11, 25), "recorded_at": NOW - timedelta(hours=1)}
ROW |= {"kind": "call", "occurred_at": NOW, "calls": 1}


def moments(dated: Dated) -> set[datetime]:
    return set(dated.entries.column("recorded_at").to_pylist())


def test_entries_are_dated_for_when_their_commit_can_be_seen() -> None:
    entries = ENTRIES.empty_table().from_pylist([ROW, ROW], schema=ENTRIES)
    dated = Dated.of(entries, NOW)
    assert moments(dated) == {dated.at}
    assert timedelta(milliseconds=30) <= dated.at - NOW < timedelta(seconds=1)


@pytest.mark.parametrize("seconds", [0.3, 4.0, 3600.0])
def test_a_ledger_that_takes_longer_to_write_is_dated_further_ahead(seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    entries = ENTRIES.empty_table().from_pylist([ROW], schema=ENTRIES)
    clock = NOW
    dating = Dating(lambda: clock)
    late = []
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            dated = dating.date(entries)
            clock += timedelta(seconds=seconds)
            late.append(clock > dated.at)
            dating.written(dated)
    assert late[0]
    assert (True in late[1:]) == (seconds > 30)  # no commit is waited for longer by those to come
    assert bool(caplog.records) == (seconds > 1)


def test_no_entries_are_dated_too() -> None:
    assert len(Dated.of(ENTRIES.empty_table(), NOW).entries) == 0
