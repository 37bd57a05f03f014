"""Files that are put together hold what they held before, entry for entry, in order, however they were written."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.ledger import compaction, merged, rewriting
from spanledger.ledger.connect import connect
from spanledger.ledger.maintenance import files_of
from spanledger.ledger.rewriting import put_together
from spanledger.ledger.table import Ledger
from tests.ledger.made import NOON, entries, entry

#: Columns of each type, which some files have and others lack.
_SOME = st.fixed_dictionaries(
    {},
    optional={
        "tenant": st.sampled_from(["a", "b", "c"]),
        "model": st.sampled_from(["gpt-4o", "é"]),
        "input_tokens": st.integers(0, 9),
        "streamed": st.booleans(),
        "duration_seconds": st.sampled_from([0.5, 2.25]),
        "response_id": st.text("xyz", min_size=1, max_size=20),
        "flags": st.lists(st.sampled_from(["one", "two"]), max_size=2),
        "tags": st.lists(st.builds(dict, key=st.sampled_from("kl"), value=st.text("v", max_size=3)), max_size=1),
    },
)
_FILE = st.tuples(st.booleans(), st.lists(st.tuples(st.integers(0, 50), _SOME), min_size=1, max_size=12))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged, "_BATCH_ROWS", 3)
    monkeypatch.setattr(rewriting, "_PASSING_ROWS", 5)


@pytest.mark.usefixtures("few_at_once")
@settings(max_examples=8, deadline=None)
@given(files=st.lists(_FILE, min_size=1, max_size=4))
def test_what_is_put_together_is_what_was_there_in_order(
    files: Sequence[tuple[bool, list[tuple[int, dict[str, Any]]]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger.open(folder / "entries")
    number = 0
    for mark, (in_order, rows) in enumerate(files, 1):
        made = []
        for minute, columns in rows:
            number += 1
            made.append(entry(f"{number:032x}", occurred_at=NOON + timedelta(minutes=minute), **columns))
        if in_order:
            made.sort(key=lambda row: (row.get("tenant", "~"), row["occurred_at"]))
        ledger.post(entries(*made), mark)
    before = _all(folder)
    group = compaction.Group(tuple(files_of(ledger)), finally_=False)
    put_together(ledger, group, NOON)
    [one] = files_of(ledger)
    assert (one.rows, one.sorted, one.ordered) == (number, True, False)
    assert _all(folder) == before
    stands = (
        connect(folder).execute("select tenant, occurred_at from read_parquet($path)", {"path": ledger.files()[0]}).fetchall()
    )
    assert stands == sorted(stands, key=lambda row: (row[0] or "~", row[1]))


def _all(folder: Path) -> Any:
    return connect(folder).execute("select * from entries order by entry_id").fetchall()
