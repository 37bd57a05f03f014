"""The roll-up equals the entries, whatever was posted, put together, dropped or lost."""

import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanledger.ledger import compaction, rolling, rollup
from spanledger.ledger.connect import connect
from spanledger.ledger.maintenance import Maintenance
from spanledger.ledger.table import Ledger
from tests.ledger.made import entries, entry
from tests.ledger.sums import assert_equal

START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=365)

rows = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["call", "duplicate", "reversal", "adjustment"]),
        "occurred_at": st.integers(0, 4 * 24 * 60).map(lambda minutes: START - timedelta(minutes=minutes)),
        "calls": st.sampled_from([1, 0, -1]),
        "tenant": st.sampled_from([None, "a", "b"]),
        "model": st.sampled_from(["m", "n"]),
        "input_tokens": st.none() | st.integers(-(10**9), 10**9),
        # Halves add up to the same in any order.
        "audio_seconds": st.none() | st.integers(-100, 100).map(lambda halves: halves / 2),
        "cost_usd": st.none() | st.decimals(-1000, 1000, places=12),
        "cost_state": st.sampled_from(["priced", "unpriced"]),
        "outcome": st.sampled_from(["ok", "error"]),
    }
)
#: What happens to a ledger: a batch, the same batch again, a round of maintenance, retention, a part of the roll-up lost.
steps = st.lists(
    st.lists(rows, min_size=1, max_size=6)
    | st.sampled_from(["again", "round", "round", "expire", "lose segment", "lose manifest"]),
    min_size=3,
    max_size=9,
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(steps)
def test_the_roll_up_equals_the_entries_whatever_happens(monkeypatch: pytest.MonkeyPatch, happens: list) -> None:
    monkeypatch.setattr(rolling, "WORTH_ROWS", 1)
    monkeypatch.setattr(compaction, "FAN", 2)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        ledger = Ledger.open(data / "entries")
        maintenance = Maintenance(ledger, clock=lambda: START + timedelta(hours=2), grace_seconds=0)
        expiring = Maintenance(ledger, retention=timedelta(days=2), clock=lambda: START, grace_seconds=0)
        mark, batch = 0, entries(entry("0" * 32))
        for step in happens:
            if isinstance(step, list):
                mark += 1
                batch = entries(*(entry(f"{mark:016x}{n:016x}", **columns) for n, columns in enumerate(step)))
                ledger.post(batch, mark)
            elif step == "again":
                ledger.post(batch, mark)
            elif step == "round":
                maintenance.round()
            elif step == "expire":
                expiring.round()
            else:
                _lose(data / "entries" / rollup.FOLDER, manifest=step == "lose manifest")
            with connect(data) as connection:
                assert_equal(connection)


def test_sums_of_a_closed_day_are_read_from_the_roll_up_and_not_from_entries(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(*(entry(f"{n:032x}", occurred_at=START, cost_usd=Decimal(n)) for n in range(50))), mark=1)
    Maintenance(ledger, clock=lambda: START + timedelta(days=2), grace_seconds=0).round()
    connection = connect(tmp_path)
    assert connection.execute("select count(*), sum(entries), sum(cost_usd) from rollup").fetchone() == (1, 50, 1225)
    [segment] = rollup.read_manifest(tmp_path / "entries").segments
    late = entry("f" * 32, occurred_at=START, cost_usd=Decimal("0.5"))
    ledger.post(entries(late), mark=2)
    connection = connect(tmp_path)
    assert connection.execute("select count(*), sum(entries), sum(cost_usd) from rollup").fetchone() == (2, 51, Decimal("1225.5"))
    assert_equal(connection)
    (tmp_path / "entries" / segment.file("fine")).write_bytes(b"")
    assert_equal(connect(tmp_path))


def test_a_month_of_days_lies_in_few_segments_and_replaced_ones_are_deleted(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    first = START.replace(month=3, day=1)
    for day in range(9):
        at = first + timedelta(days=day)
        ledger.post(entries(entry(f"{day:032x}", occurred_at=at)), mark=day + 1)
        Maintenance(ledger, clock=partial(at.__add__, timedelta(days=2)), grace_seconds=0).round()
    maintenance = Maintenance(ledger, clock=lambda: first + timedelta(days=30), grace_seconds=0)
    maintenance.round()
    manifest = rollup.read_manifest(tmp_path / "entries")
    assert len(manifest.sources) == 9
    assert len(manifest.segments) < rolling.FAN
    there = {f"{rollup.FOLDER}/{path.name}" for path in (tmp_path / "entries" / rollup.FOLDER).glob("*.parquet")}
    assert there == manifest.files
    assert_equal(connect(tmp_path))


def test_cells_of_more_than_a_call_can_cost_are_exact(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    dear = Decimal("99999999.999999999999")
    ledger.post(entries(*(entry(f"{n:032x}", occurred_at=START, cost_usd=dear) for n in range(3))), mark=1)
    Maintenance(ledger, clock=lambda: START + timedelta(days=2), grace_seconds=0).round()
    assert connect(tmp_path).execute("select cost_usd from rollup").fetchall() == [(3 * dear,)]


def _lose(folder: Path, *, manifest: bool) -> None:
    lost = [folder / "manifest.json"] if manifest else sorted(folder.glob("*.fine.parquet"))[:1]
    for path in lost:
        path.unlink(missing_ok=True)


def test_a_roll_up_left_by_something_else_is_not_believed(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(entries(entry("a" * 32)), mark=1)
    (tmp_path / "entries" / rollup.FOLDER).mkdir()
    (tmp_path / "entries" / rollup.FOLDER / "manifest.json").write_text('{"segments": [{"name": "x"}]}')
    connection: duckdb.DuckDBPyConnection = connect(tmp_path)
    assert_equal(connection)
