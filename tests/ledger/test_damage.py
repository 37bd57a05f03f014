"""A ledger of which something is missing or cut: said clearly, and the rest is served."""

import os
from pathlib import Path

import pytest

from spanledger.ledger.connect import connect
from spanledger.ledger.damage import note_unreadable, unreadable_files
from spanledger.ledger.health import health
from spanledger.ledger.maintenance import Maintenance
from spanledger.ledger.repair import repair
from spanledger.ledger.table import Ledger, LedgerError
from spanledger.ledger.torn import torn_entries
from tests.ledger.made import entries, entry


def _ledger(folder: Path, posts: int = 3) -> Ledger:
    ledger = Ledger.open(folder / "entries")
    for number in range(posts):
        ledger.post(entries(entry(f"{number:032x}")), mark=number + 1)
    return ledger


@pytest.mark.parametrize("damage", ["missing", "was cut"])
def test_a_file_that_is_missing_or_cut_is_named_and_the_rest_is_served(tmp_path: Path, damage: str) -> None:
    ledger = _ledger(tmp_path)
    path = Path(ledger.files()[0])
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(LedgerError, match=f"{path.name} with 1 entry of 2026-03-05 .*{damage}.*spanledger repair"):
        connect(tmp_path)
    assert connect(tmp_path, damaged="leave out").execute("select count(*) from entries").fetchone() == (2,)
    ledger.post(entries(entry("a" * 32)), mark=4)
    assert connect(tmp_path, damaged="leave out").execute("select count(*), sum(entries) from rollup").fetchone() == (3, 3)


def test_repair_takes_a_damaged_file_out_of_the_table_says_what_is_lost_and_keeps_what_is_left_of_it(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path)
    path = Path(ledger.files()[0])
    path.write_bytes(path.read_bytes()[:50])
    [lost] = repair(tmp_path / "entries")
    assert (lost.path, lost.entries) == (f"{path.parent.name}/{path.name}", 1)
    assert (tmp_path / "entries" / "_damaged" / path.name).stat().st_size == 50
    assert connect(tmp_path).execute("select count(*) from entries").fetchone() == (2,)
    assert repair(tmp_path / "entries") == []
    assert Ledger.open(tmp_path / "entries").mark() == 3


@pytest.mark.parametrize("left", [0, 10, 0.5, -3])
def test_a_half_written_last_log_entry_is_set_aside_and_its_batch_is_posted_again(tmp_path: Path, left: float) -> None:
    ledger = _ledger(tmp_path)
    last = tmp_path / "entries" / "_delta_log" / f"{ledger.version():020}.json"
    whole = last.read_bytes()
    last.write_bytes(whole[: int(len(whole) * left) if 0 < left < 1 else int(left)])
    if left:
        with pytest.raises(LedgerError, match=f"{last.name} is half-written"):
            connect(tmp_path)
    again = Ledger.open(tmp_path / "entries")
    assert [path.name for path in torn_entries(tmp_path / "entries")] == [f"{last.name}.half-written"]
    assert again.mark() == 2
    assert again.post(entries(entry(f"{2:032x}")), mark=3) is True
    assert connect(tmp_path).execute("select count(*), count(distinct entry_id) from entries").fetchone() == (3, 3)


@pytest.mark.parametrize("where", ["of values", "of what it says of itself"])
def test_a_file_whose_bytes_changed_is_found_left_out_by_everybody_and_repaired(tmp_path: Path, where: str) -> None:
    ledger = _ledger(tmp_path)
    path = Path(ledger.files()[-1])
    written = bytearray(path.read_bytes())
    # Values stand at the front, what the file says of itself at the end, before eight bytes.
    at = 60 if where == "of values" else len(written) - 8 - int.from_bytes(written[-8:-4], "little")
    written[at : at + 30] = b"\xff" * 30
    path.write_bytes(written)
    table = ledger.table
    assert [one.path for one in unreadable_files(table, tmp_path / "entries", whole=True)] == [f"{path.parent.name}/{path.name}"]
    assert len(unreadable_files(table, tmp_path / "entries", whole=False)) == (where != "of values")
    assert len(note_unreadable(table, tmp_path / "entries", whole=True)) == 1
    with pytest.raises(LedgerError, match=f"{path.name} with 1 entry .* cannot be read"):
        connect(tmp_path)
    assert connect(tmp_path, damaged="leave out").execute("select count(*) from entries").fetchone() == (2,)
    assert [one.path for one in repair(tmp_path / "entries")] == [f"{path.parent.name}/{path.name}"]
    assert connect(tmp_path).execute("select count(*) from entries").fetchone() == (2,)


def test_a_first_file_that_is_no_parquet_is_named_as_soon_as_somebody_reads(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path, posts=1)
    path = Path(ledger.files()[0])
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(LedgerError, match=f"{path.name} with 1 entry .* cannot be read"):
        connect(tmp_path)
    assert connect(tmp_path, damaged="leave out").execute("select count(*) from entries").fetchone() == (0,)


def test_a_log_entry_that_is_missing_in_the_midst_of_others_is_named(tmp_path: Path) -> None:
    _ledger(tmp_path)
    gone = tmp_path / "entries" / "_delta_log" / f"{2:020}.json"
    gone.unlink()
    with pytest.raises(LedgerError, match=f"{gone.name} is missing"):
        connect(tmp_path)


def test_a_half_written_log_entry_in_the_midst_of_others_is_named_and_left_alone(tmp_path: Path) -> None:
    _ledger(tmp_path)
    torn = tmp_path / "entries" / "_delta_log" / f"{2:020}.json"
    torn.write_bytes(torn.read_bytes()[:30])
    with pytest.raises(LedgerError, match=f"{torn.name} is half-written"):
        Ledger.open(tmp_path / "entries")
    assert torn.exists()


def test_what_an_operator_asks_about_a_table_is_told(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path, posts=4)
    Path(ledger.files()[0]).unlink()
    with connect(tmp_path, damaged="leave out"):
        found = health(tmp_path / "entries")
    assert (found.files, found.entries, found.version, found.oldest_reader) == (4, 4, 4, 4)
    assert [one.reason for one in found.damaged] == ["is missing"]
    assert (found.unnamed, found.torn) == (0, ())


def _spoil(path: Path, *, unseen: bool = False) -> bytes:
    """Change values of a file in its size, at will without a trace in the file system; gives what it was."""
    was, moments = path.read_bytes(), path.stat()
    values = len(was) - 8 - int.from_bytes(was[-8:-4], "little")
    path.write_bytes(bytes(byte ^ (0xFF if at % 60 == 59 else 0) for at, byte in enumerate(was[:values])) + was[values:])
    if unseen:
        os.utime(path, ns=(moments.st_atime_ns, moments.st_mtime_ns))
    return was


def test_a_file_that_changes_while_its_collector_runs_is_said_once_and_left_out_at_once_until_it_is_put_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = _ledger(tmp_path)
    maintenance = Maintenance(ledger)
    maintenance.round()
    path = Path(ledger.files()[-1])
    was = _spoil(path)
    for _ in range(3):
        maintenance.round()
    [said] = maintenance.progress.damaged
    assert path.name in said
    assert sum(path.name in line for line in caplog.messages) == 1
    assert [one.path for one in health(tmp_path / "entries").damaged] == [f"{path.parent.name}/{path.name}"]
    assert connect(tmp_path, damaged="leave out").execute("select count(*) from entries").fetchone() == (2,)
    path.write_bytes(was)
    maintenance.round()
    assert maintenance.progress.damaged == []
    assert connect(tmp_path).execute("select count(*) from entries").fetchone() == (3,)
    assert repair(tmp_path / "entries") == []


@pytest.mark.parametrize(("posts", "rows"), [(2, 5_000), (9, 1)], ids=["summed up", "put together"])
def test_upkeep_that_meets_a_damaged_file_leaves_it_out_and_goes_on_with_the_rest(tmp_path: Path, posts: int, rows: int) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    for number in range(posts):
        ledger.post(entries(*(entry(f"{number * rows + row:032x}") for row in range(rows))), mark=number + 1)
    path = Path(ledger.files()[-1])
    _spoil(path, unseen=True)
    maintenance = Maintenance(ledger)
    maintenance.round()
    maintenance.round()
    assert [path.name in said for said in maintenance.progress.damaged] == [True]
    assert (maintenance.progress.compactions, maintenance.progress.rolled_up) == ((1, 0) if rows == 1 else (0, 1))
    left = (posts - 1) * rows
    connection = connect(tmp_path, damaged="leave out")
    assert connection.execute("select count(*), (select sum(entries) from rollup) from entries").fetchone() == (left, left)
