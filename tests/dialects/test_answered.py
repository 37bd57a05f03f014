"""Ids of providers are known for as long as is looked back: after bounds, damage and restarts, and from the ledger alone."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.collector.columns.keys import keys_of
from spanledger.collector.count import answered, evidence_files
from spanledger.collector.count.answered import Answered
from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.older import LedgerEvidence
from spanledger.collector.decode.decode import decode
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from tests.dialects.bodies import NOW
from tests.dialects.counting import prices
from tests.dialects.spans import body_of, chat


def _narrow(ids: list[str | None], came: int, requests: list[str | None] | None = None) -> dict[str, Any]:
    keys = keys_of(pl.Series(ids, dtype=pl.String))
    asked = keys_of(pl.Series(requests or [None] * len(ids), dtype=pl.String))
    return {"response": keys, "request": asked, "arrived": np.full(len(ids), came)}


def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "_RUN", 8)
    monkeypatch.setattr(answered, "_RUNS", 3)
    monkeypatch.setattr(answered, "_WHOLE", 40)
    monkeypatch.setattr(answered, "_LEAST_WORDS", 2)


@given(
    batches=st.lists(st.lists(st.integers(0, 400), max_size=12), max_size=30),
    restarts=st.sets(st.integers(0, 30), max_size=4),
)
@settings(deadline=None)
def test_just_the_ids_that_were_noted_are_known_through_any_restarts(
    batches: list[list[int]], restarts: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as small:
        _small(small)
        folder = tmp_path_factory.mktemp("ids")
        known, noted = Answered(folder), set[int]()
        for turn, batch in enumerate(batches):
            known.add(_narrow([f"id {n}" if n % 3 else None for n in batch], turn + 1, [f"id {n}" for n in batch]))
            noted |= set(batch)
            if turn in restarts:
                known.flush()
                known = Answered(folder)
                known.read()
        rows, first, last = known.named(_narrow([f"id {n}" for n in range(401)], 99))
        assert rows.tolist() == sorted(noted)
        assert not noted or 1 <= first <= last
        assert len(list(folder.iterdir())) <= 3 + known.size // 40


def test_the_oldest_ids_go_when_their_time_is_over_or_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _small(monkeypatch)
    known = Answered(tmp_path, most=200)
    for turn in range(100):
        known.add(_narrow([f"{turn} {n}" for n in range(10)], turn + 1))
        known.let_go(turn - 30)
    assert known.size <= 210
    assert len(known.named(_narrow(["99 5", "95 0"], 200))[0]) == 2
    assert not len(known.named(_narrow(["3 3", "40 2"], 200))[0])
    assert known.in_memory < 8 * 200
    known.let_go(1000)
    assert sorted(tmp_path.iterdir()) == []


def test_what_is_damaged_and_all_that_came_since_is_read_again_and_other_hashes_are_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(monkeypatch)
    known = Answered(tmp_path)
    for turn in range(2):
        known.add(_narrow([f"{turn} {n}" for n in range(10)], turn + 1))
    assert Answered(tmp_path).read() == 2
    first, second = sorted(tmp_path.iterdir())
    second.write_bytes(second.read_bytes()[:40] + bytes(40))
    again = Answered(tmp_path)
    assert again.read() == 1
    assert again.size == 10
    first.rename(first.with_name(first.name.replace(answered._HASHED_AS, "0" * 16)))
    assert Answered(tmp_path).read() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", ["all files", "some files", "no files"])
def test_after_a_restart_an_answer_of_hours_ago_is_known_whatever_is_left_on_disk(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(monkeypatch)
    monkeypatch.setattr(evidence_files, "MOST_FILES", 2)
    ledger, older = Ledger.open(tmp_path / "entries"), LedgerEvidence(str(tmp_path / "entries"))
    counting, folder = Counting(rows=8), tmp_path / "evidence"
    counter = CountOnce(counting, folder=folder, older=older)

    def taken(answers: list[str], hours: float, mark: int) -> int:
        began = int(hours * 3_600_000)
        calls = [
            chat(trace=f"{mark} {answer}", start=began, end=began + 9, attributes={"gen_ai.response.id": answer})
            for answer in answers
        ]
        now = NOW + timedelta(hours=hours - 1, seconds=1)
        entries = prices().price(counter.count(recognise(decode([body_of(*calls)])), now=now, mark=mark))
        recorded = entries.with_columns(pl.lit(now).cast(entries.schema["recorded_at"]).alias("recorded_at"))
        ledger.post(conform(recorded), mark)
        counter.posted(mark, recorded)
        return int(entries["calls"].sum())

    answers = [f"chatcmpl-of-hour-{hour}" for hour in range(8)]
    for hour, answer in enumerate(answers):
        assert taken([answer, *(f"chatcmpl-other-{hour}-{n}" for n in range(9))], hour, hour + 1) == 10
    files = sorted((folder / "ids").iterdir(), key=lambda path: path.name[21:])
    assert files
    for path in {"all files": [], "some files": files[1:], "no files": files}[left]:
        path.unlink()
    counter = CountOnce(counting, folder=folder, mark=8, older=older)
    assert taken([*answers, "chatcmpl-new"], 9, 9) == 1
    # What is looked back on is over for the first of them.
    counter = CountOnce(Counting(rows=8, remember=timedelta(hours=5)), folder=folder, mark=9, older=older)
    assert taken(["chatcmpl-other-0-3", "chatcmpl-other-7-3"], 10, 10) == 1
