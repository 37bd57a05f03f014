"""What maintenance does to a ledger that is written all the time: few files, a short log, and every entry as it was."""

import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from spanledger.ledger import log, maintenance, rolling
from spanledger.ledger.compaction import FAN, FULL_BYTES, FULL_ROWS, HELD_BYTES, HELD_ROWS, File, plan
from spanledger.ledger.connect import connect
from spanledger.ledger.keeper import alone
from spanledger.ledger.maintenance import GRACE_SECONDS, Maintenance, files_of
from spanledger.ledger.pins import Pin, least
from spanledger.ledger.rewriting import put_together
from spanledger.ledger.sweep import Sweep
from spanledger.ledger.table import Ledger, LedgerError, Replaced
from tests.ledger.made import entries, entry

#: Before the real clock's now, by which the files are dated, a day counts as quiet; so time here begins a year ahead.
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=365)


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def test_a_week_of_one_call_a_second_stays_in_few_files_and_rewrites_an_entry_a_few_times() -> None:
    files: dict[str, File] = {}
    most = written = 0
    for minute in range(0, 7 * 24 * 60, 2):
        now = START + timedelta(minutes=minute)
        # A round is every five seconds; that all of two minutes' commits wait for one makes it worse.
        files |= {f"{minute}-{n}": File(f"{minute}-{n}", now.date(), 1, 20_000, now) for n in range(120)}
        most = max(most, len(files))
        for number, group in enumerate(plan(files.values(), now)):
            rows = sum(file.rows for file in group.files)
            written += rows
            for file in group.files:
                del files[file.path]
            path = f"{minute}/{number}"
            files[path] = File(path, group.files[0].day, rows, rows * 60, now, ordered=group.finally_, sorted=True)
    calls = 7 * 24 * 3600
    assert sum(file.rows for file in files.values()) == calls
    assert most < 200
    assert len([file for file in files.values() if file.day < now.date()]) == 6
    assert written / calls < 8


@pytest.mark.parametrize(("count", "rows"), [(86_400, 1), (40, 5_000), (3_000, 100), (2, 90_000)])
def test_a_day_of_which_nothing_was_put_together_ends_in_as_few_files_as_its_size_allows(count: int, rows: int) -> None:
    files = {f"{n}": File(f"{n}", START.date(), rows, rows * 100, START) for n in range(count)}
    for day in range(2, 6):
        now = START + timedelta(days=day)
        for number, group in enumerate(plan(files.values(), now)):
            assert sum(file.rows for file in group.files if not (file.sorted or file.ordered)) <= max(HELD_ROWS, rows)
            for file in group.files:
                del files[file.path]
            whole = sum(file.rows for file in group.files)
            files[f"{day}/{number}"] = File(f"{day}/{number}", START.date(), whole, whole * 60, now, ordered=True, sorted=True)
    assert sum(file.rows for file in files.values()) == count * rows
    assert len(files) == -(-count * rows // FULL_ROWS) or (len(files), rows) == (2, 90_000)
    assert plan(files.values(), START + timedelta(days=7)) == []


def test_replaced_files_wait_for_readers_and_go_so_that_the_folder_stops_growing(tmp_path: Path) -> None:
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    maintenance = Maintenance(ledger, clock=clock)
    maintenance._sweep = Sweep(ledger, GRACE_SECONDS, lambda: clock.now.timestamp())
    every = 30
    there: list[int] = []
    named: list[int] = []
    for number in range(4 * int(GRACE_SECONDS) // every):
        clock.now = START + timedelta(seconds=every * number)
        ledger.post(entries(entry(f"{number:032x}", occurred_at=clock.now)), mark=number + 1)
        maintenance.round()
        there.append(len(list((tmp_path / "entries").glob("day=*/*.parquet"))))
        named.append(len(ledger.files()))
    of_grace = int(GRACE_SECONDS) // every
    assert max(named) < FAN + 8
    # All that was posted in the time that is kept for readers, and what it was put together to: never more than that.
    assert max(there) <= max(named) + of_grace + of_grace // 4
    assert max(there[2 * of_grace :]) <= max(there[: 2 * of_grace]) + FAN


def test_files_of_large_entries_are_put_together_only_as_far_as_memory_bears() -> None:
    for is_sorted, size in ((True, FULL_BYTES // 3), (False, HELD_BYTES // 3)):
        files = [File(f"{n}", START.date(), 100, size, START, sorted=is_sorted) for n in range(10)]
        assert [len(group.files) for group in plan(files, START)] == [3, 3, 3]
    files = [File(f"{n}", START.date(), HELD_ROWS // 2, 100, START) for n in range(9)]
    assert [len(group.files) for group in plan(files, START)] == [2, 2, 2, 2]


def test_a_ledger_that_is_written_and_maintained_has_few_files_and_few_log_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CHECKPOINT_COMMITS", 10)
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    maintenance = Maintenance(ledger, clock=clock, grace_seconds=0)
    posts = 70
    for number in range(posts):
        clock.now = START + timedelta(hours=7 * 24 * number / posts)
        ledger.post(entries(entry(f"{number:032x}", occurred_at=clock.now)), mark=number + 1)
        if number % 10 == 0:
            maintenance.round()
    maintenance.round()
    parquet = list((tmp_path / "entries").glob("day=*/*.parquet"))
    assert len(ledger.files()) == len(parquet) < 30
    assert len([path for path in (tmp_path / "entries" / "_delta_log").iterdir() if path.suffix == ".json"]) < 30
    again = Ledger.open(tmp_path / "entries")
    assert again.mark() == posts
    assert again.post(entries(entry("f" * 32)), mark=posts) is False
    assert connect(tmp_path).execute("select count(*), count(distinct entry_id) from entries").fetchone() == (posts, posts)


def test_a_closed_day_is_one_file_in_the_order_of_tenants_and_time(tmp_path: Path) -> None:
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    for number in range(12):
        row = entry(f"{number:032x}", tenant=f"t{number % 3}", occurred_at=START + timedelta(minutes=50 - number))
        ledger.post(entries(row), mark=number + 1)
    clock.now = START + timedelta(days=1, hours=2)
    Maintenance(ledger, clock=clock, grace_seconds=0).round()
    [path] = ledger.files()
    rows = connect(tmp_path).execute("select tenant, occurred_at from read_parquet($path)", {"path": path}).fetchall()
    assert rows == sorted(rows)
    assert len(rows) == 12


def test_days_past_their_retention_are_dropped_whole_and_no_other(tmp_path: Path) -> None:
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    for ago in range(5):
        ledger.post(entries(entry(f"{ago:032x}", occurred_at=START - timedelta(days=ago))), mark=ago + 1)
    clock.now = START + timedelta(hours=1)
    Maintenance(ledger, retention=timedelta(days=2), clock=clock, grace_seconds=0).round()
    assert sorted({file.day for file in files_of(ledger)}) == [_day(2), _day(1), _day(0)]
    assert not list((tmp_path / "entries").glob(f"day={_day(3)}/*"))
    assert ledger.mark() == 5


def test_a_reader_in_the_midst_of_it_keeps_its_files_until_it_moves_on(tmp_path: Path) -> None:
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    for number in range(9):
        ledger.post(entries(entry(f"{number:032x}", occurred_at=START)), mark=number + 1)
    reader = connect(tmp_path)
    maintenance = Maintenance(ledger, clock=clock, grace_seconds=0)
    maintenance.round()
    maintenance.round()
    assert maintenance.progress.compactions == 1
    assert maintenance.progress.removed == 0
    assert reader.execute("select count(*) from entries").fetchone() == (9,)
    reader.close()
    del reader
    maintenance.round()
    assert maintenance.progress.removed == 9
    assert least(tmp_path / "entries") is None


def test_the_oldest_version_that_any_reader_holds_is_known(tmp_path: Path) -> None:
    Ledger.open(tmp_path)
    assert least(tmp_path) is None
    pins = [Pin(tmp_path) for _ in range(3)]
    for pin, version in zip(pins, (70, 30, 50), strict=True):
        pin.move(version)
    assert least(tmp_path) == 30
    pins[1].move(60)
    assert least(tmp_path) == 50
    pins[2].close()
    assert least(tmp_path) == 60


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_maintained(tmp_path: Path) -> None:
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    for number in range(24):
        ledger.post(entries(entry(f"{number:032x}", occurred_at=START - timedelta(days=number % 2))), mark=number + 1)
    whole, cut = (Path(path) for path in ledger.files()[:2])
    cut.write_bytes(cut.read_bytes()[:100])
    same_size = whole.stat().st_size
    whole.write_bytes(b"\0" * same_size)
    maintenance = Maintenance(ledger, clock=clock, grace_seconds=0)
    for _ in range(3):
        maintenance.round()
    assert sorted(name for name in (cut.name, whole.name) for said in maintenance.progress.damaged if name in said) == sorted(
        [cut.name, whole.name]
    )
    assert len(ledger.files()) < 6
    assert {cut.name, whole.name} <= {Path(path).name for path in ledger.files()}


def _day(ago: int) -> date:
    return (START - timedelta(days=ago)).date()


def test_a_clock_that_jumps_ahead_drops_no_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a" * 32, occurred_at=datetime.now(UTC))), mark=1)
    maintenance = Maintenance(ledger, retention=timedelta(days=30))
    monkeypatch.setattr(maintenance, "_clock", lambda: datetime.now(UTC) + timedelta(days=365))
    maintenance.round()
    assert len(ledger.files()) == 1
    monkeypatch.setattr(maintenance, "_clock", lambda: datetime.now(UTC))
    maintenance.round()
    assert len(ledger.files()) == 1


def test_a_table_that_is_not_on_this_machine_is_maintained_through_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    monkeypatch.setattr(ledger, "local", None)
    monkeypatch.setattr(log, "CHECKPOINT_COMMITS", 5)
    for number in range(9):
        ledger.post(entries(entry(f"{number:032x}", occurred_at=START)), mark=number + 1)
    clock.now = START - timedelta(days=400)
    maintenance = Maintenance(ledger, clock=clock, grace_seconds=0)
    monkeypatch.setattr(maintenance._sweep, "_vacuumed", -1e9)
    maintenance.round()
    assert (len(ledger.files()), maintenance.progress.removed, maintenance.progress.checkpoints) == (1, 9, 1)
    assert connect(tmp_path).execute("select count(*), sum(calls) from entries").fetchone() == (9, 9)
    assert connect(tmp_path).execute("select sum(entries) from rollup").fetchone() == (9,)
    assert ledger.mark() == 9


def test_of_two_that_put_the_same_files_together_one_does(tmp_path: Path) -> None:
    clock, one = Clock(), Ledger.open(tmp_path / "entries", journal="1")
    for number in range(9):
        one.post(entries(entry(f"{number:032x}", occurred_at=START)), mark=number + 1)
    two = Ledger.open(tmp_path / "entries", journal="2")
    [group] = plan(files_of(two), clock.now)
    Maintenance(one, clock=clock).round()
    with pytest.raises(Replaced, match=r"has been taken out of the ledger"):
        put_together(two, group, clock.now)
    assert connect(tmp_path).execute("select count(*) from entries").fetchone() == (9,)


def test_while_another_process_keeps_the_files_a_round_does_nothing(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    for number in range(9):
        ledger.post(entries(entry(f"{number:032x}", occurred_at=START)), mark=number + 1)
    maintenance = Maintenance(ledger, clock=Clock(), grace_seconds=0)
    with alone(tmp_path / "entries") as mine:
        assert mine
        maintenance.round()
    assert (maintenance.progress.compactions, maintenance.progress.kept_elsewhere) == (0, True)
    maintenance.round()
    assert (maintenance.progress.compactions, maintenance.progress.kept_elsewhere) == (1, False)


def test_what_a_full_disk_cut_short_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ledger = Clock(), Ledger.open(tmp_path / "entries")
    for number in range(9):
        ledger.post(entries(entry(f"{number:032x}", occurred_at=START)), mark=number + 1)

    def full(*rows: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        Maintenance(ledger, clock=clock, grace_seconds=0).round()
    with pytest.raises(LedgerError, match="No space left"):
        ledger.post(entries(entry("a" * 32, occurred_at=START)), mark=10)
    assert len(list((tmp_path / "entries").glob("day=*/*"))) == 9


def test_what_a_killed_roll_up_had_spilled_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "WORTH_ROWS", 1)
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a" * 32, occurred_at=START)), mark=1)
    spilled = tmp_path / "entries" / "_rollup" / "spill" / "duckdb_temp_storage-0.tmp"
    spilled.parent.mkdir(parents=True)
    spilled.write_bytes(bytes(4096))
    Maintenance(ledger, clock=Clock()).round()
    assert not spilled.exists()


def test_maintenance_waits_while_intake_is_behind_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def behind() -> bool:
        asked.set()
        return True

    ledger = Ledger.open(tmp_path / "entries")
    for most, ran in ((3600.0, False), (0.0, True)):
        monkeypatch.setattr(maintenance, "_MOST_PUT_OFF_SECONDS", most)
        kept = Maintenance(ledger, round_seconds=0.01, behind=behind)
        asked.clear()
        kept.start()
        assert asked.wait(30)
        while ran and kept.progress.last_round_at is None:
            time.sleep(0.01)
        kept.stop()
        assert (kept.progress.last_round_at is not None) == ran
