"""What the counter keeps in mind, what it lets go of, and that its short ways lead where the long ones do."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.collector.columns import identity
from spanledger.collector.columns.chunks import Chunks
from spanledger.collector.count import resolve as resolving
from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.evidence import Evidence, narrowed
from spanledger.collector.count.evidence_files import EvidenceFiles, _frame
from spanledger.collector.count.heard import Heard
from spanledger.collector.count.memory import KEPT, Memory, as_kept
from spanledger.collector.count.older import _first_ids
from spanledger.collector.decode.decode import decode
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.frame import COLUMNS
from tests.dialects.bodies import INDEX, NOW, body, numbered
from tests.dialects.spans import Span, body_of, chat


@given(st.lists(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=9), max_size=9), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_rows_come_back_as_they_were_put_in_any_order_and_after_some_were_let_go(
    pieces: list[list[int | None]], order: random.Random
) -> None:
    chunks, rows = Chunks({"number": pl.Int64, "text": pl.String}), []
    for piece in pieces:
        chunks.append(pl.DataFrame({"number": piece}, schema={"number": pl.Int64}))
        rows += piece
        if len(rows) > 20:
            kept = np.array([order.random() < 0.7 for _ in rows])
            chunks.keep(kept)
            rows = [row for row, stays in zip(rows, kept, strict=True) if stays]
    asked = order.choices(range(len(rows)), k=len(rows)) if rows else []
    taken = chunks.take(np.array(asked, dtype=np.int64))
    assert taken.schema == {"number": pl.Int64, "text": pl.String}
    assert taken["number"].to_list() == [rows[at] for at in asked]
    assert taken["text"].null_count() == len(asked)


class _Asked:
    """A ledger that holds nothing and counts how many records it is asked about."""

    def __init__(self) -> None:
        self.about = 0

    def find(self, late: pl.DataFrame, *, since: datetime, horizon: int) -> pl.DataFrame:
        self.about += late.height
        return pl.DataFrame(schema=COLUMNS)

    def named(self, records: pl.DataFrame, *, since: datetime, came: tuple[datetime, datetime] | None) -> pl.DataFrame:
        return pl.DataFrame(schema=COLUMNS)

    def ids(self, *, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        return iter(())

    def entries(self, entry_ids: pl.Series) -> pl.DataFrame:
        return pl.DataFrame(schema=COLUMNS)


def _after_a_burst(*late: Span) -> int:
    """About how many of these the ledger is asked, after calls have passed that memory has let go of by then."""
    ledger = _Asked()
    counter = CountOnce(Counting(rows=10), older=ledger)
    began = NOW - timedelta(hours=1)  # when all these spans ran: they arrive as soon as they have ended
    for batch in range(8):
        calls = [chat(1000 + n, 7, trace=f"{batch}-{n}", id="x", parent="p", start=batch, end=batch + 5) for n in range(20)]
        counter.count(recognise(decode([body_of(*calls)])), now=began + timedelta(milliseconds=200 + batch))
    assert ledger.about == 0
    counter.count(recognise(decode([body_of(*late)])), now=began + timedelta(seconds=1))
    return ledger.about


def test_a_burst_of_one_emitter_is_counted_without_asking_the_ledger() -> None:
    assert _after_a_burst(*(chat(1000 + n, 7, trace=f"new-{n}", start=2, end=8) for n in range(20))) == 0


def test_the_ledger_is_asked_about_what_shares_an_id_or_in_another_voice_the_input_with_what_is_gone() -> None:
    assert _after_a_burst(chat(5, 5, trace="0-3", id="y")) == 1
    assert _after_a_burst(chat(1003, 7, trace="other", scope="framework", start=0, end=9)) == 1
    assert _after_a_burst(chat(5, 5, trace="other", scope="framework", start=0, end=9)) == 0
    assert _after_a_burst(chat(1000, 7, trace="0-0", id="x", parent="p", start=0, end=5)) == 1


def test_what_was_let_go_before_a_start_is_asked_for_as_nothing_is_known_of_it() -> None:
    memory = Memory()
    memory.forgot(int(NOW.timestamp() * 1e6))
    kept = as_kept(recognise(decode([body_of(chat())])), KEPT).with_columns(pl.lit(1).alias("arrived"))
    rows = memory.add(kept)
    assert memory.unknown_likes(memory.seen(rows).narrow, arriving=False).tolist() == [0]


def test_letting_go_bounds_what_is_kept() -> None:
    counter = CountOnce(Counting(rows=40))
    for batch in range(12):
        calls = [chat(trace=f"{batch}-{n}", id="x") for n in range(25)]
        counter.count(recognise(decode([body_of(*calls)])), now=NOW + timedelta(seconds=batch))
        memory = counter.memory
        assert memory.evidence.height == memory.arrays.height <= 45 + 25
        assert memory.posted.height == (memory.standing >= 0).sum() == memory.evidence.height


def _verdicts(evidence: pl.DataFrame) -> tuple[list[Any], pl.DataFrame]:
    seen = Evidence.of(evidence)
    told = resolving.resolve(seen, settled=np.ones(seen.height, dtype=bool))
    calls = told.calls.columns(sorted(COLUMNS)).with_columns(pl.Series("row", told.calls.rows)).sort("row")
    return [told.label.tolist(), told.stands.tolist(), told.rule.tolist(), told.by.tolist()], calls


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_call_that_shares_nothing_with_others_is_what_the_rules_would_make_of_it(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = numbered([body(sample["file"]) for sample in INDEX])
    evidence = as_kept(recognise(decode(bodies)), KEPT).unique("entry_id", keep="first", maintain_order=True)
    evidence = evidence.sample(fraction=share, seed=7)
    short = _verdicts(evidence)
    monkeypatch.setattr(resolving, "_joined", lambda seen, *_, **__: np.ones(seen.height, dtype=bool))
    whole = _verdicts(evidence)
    assert short[0] == whole[0]
    assert short[1].equals(whole[1])


def test_a_record_is_known_by_its_own_id_however_often_it_was_posted_anew() -> None:
    own = pl.Series(["a" * 32, "b" * 32])
    anew = [identity.derived(own, "call", pl.Series([times, times])) for times in range(1, 40)]
    told = pl.DataFrame({"entry_id": pl.concat([own, *anew])}).with_columns(
        pl.lit(NOW).alias("occurred_at"), *(pl.lit("x").alias(name) for name in ("signal", "scope_name", "dialect"))
    )
    assert _first_ids(told).to_list() == own.to_list() * 40


def test_what_is_written_down_is_read_as_it_was_by_whichever_writer(tmp_path: Path) -> None:
    bodies = numbered([body(sample["file"]) for sample in INDEX])
    whole = as_kept(recognise(decode(bodies)), KEPT)
    files = EvidenceFiles(tmp_path)
    short = whole.head(3).with_columns(pl.lit("x").alias(name) for name, kind in KEPT.items() if kind == pl.String)
    # Rows that keep a larger frame's texts in memory are for the one writer, all others for the other.
    few = pl.concat([whole.slice(at, 9) for at in range(0, whole.height, 40)])
    for mark, frame in enumerate((whole, short, whole.tail(1), few, few.head(0)), start=1):
        files.write(mark, frame, pl.DataFrame())
        for path in tmp_path.glob("*.arrow"):
            assert as_kept(_frame(path), KEPT).equals(frame)
            path.unlink()


def test_a_file_of_evidence_in_which_a_byte_changed_is_read_or_dropped(tmp_path: Path) -> None:
    whole = as_kept(recognise(decode([body(INDEX[0]["file"])])), KEPT).with_columns(pl.lit(1).alias("arrived"))
    EvidenceFiles(tmp_path).write(1, whole, pl.DataFrame())
    (path,) = tmp_path.glob("*.arrow")
    written, order = path.read_bytes(), random.Random(7)
    for _ in range(40):
        at = order.randrange(len(written))
        path.write_bytes(written[:at] + bytes([written[at] ^ 1 << order.randrange(8)]) + written[at + 1 :])
        memory = Memory()
        EvidenceFiles(tmp_path).read(memory, 1)
        assert memory.evidence.height or memory.horizon is not None


def test_an_emitter_is_talkative_once_it_was_heard_in_two_voices_and_forgotten_when_others_were_heard_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = Heard()

    def say(service: str, scope: str, at: int) -> list[bool] | None:
        kept = as_kept(recognise(decode([body_of(chat(service=service, scope=scope))])), KEPT)
        narrow = narrowed(kept.with_columns(pl.lit(at).alias("arrived")))
        heard.note(kept.with_columns(pl.lit(at).alias("arrived")), narrow)
        talking = heard.talking(narrow)
        return None if talking is None else talking.tolist()

    assert [say("a", "one", 1), say("b", "one", 2), say("a", "one", 3), say("a", "two", 4)] == [None, None, None, [True]]
    assert say("b", "one", 5) == [False]
    monkeypatch.setattr("spanledger.collector.count.heard._MOST", 1)
    heard.let_go()
    assert list(heard.last) == list(heard.voices)
    assert list(heard.last.values()) == [5]
    assert say("a", "one", 6) is None
