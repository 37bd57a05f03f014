"""Every sample is read to the calls that were really charged, whatever the order, split and number of restarts."""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from spanledger.collector.decode import decode
from spanledger.collector.recognise import recognise
from tests.dialects.bodies import INDEX, body, numbered, signal_of, singles
from tests.dialects.counting import charged, counted, differences, entries_of, sums

FILES = [sample["file"] for sample in INDEX]
SPOKEN = [name for name in FILES if signal_of(name) != "metrics"]
STEMS = sorted({name.split(".")[0] for name in FILES})


@cache
def _whole(*names: str) -> pl.DataFrame:
    """What these samples come to in one batch."""
    return entries_of([numbered([body(name) for name in names])])


@pytest.mark.parametrize("name", SPOKEN)
def test_a_sample_alone_gives_the_calls_that_were_charged(name: str) -> None:
    assert differences(_whole(name), charged([name])) == []


@pytest.mark.parametrize("stem", [stem for stem in STEMS if sum(name.startswith(f"{stem}.") for name in FILES) > 1])
def test_traces_logs_and_metrics_of_one_process_are_the_same_calls(stem: str) -> None:
    files = [name for name in FILES if name.startswith(f"{stem}.")]
    assert differences(entries_of([[body(name)] for name in files]), charged(files)) == []
    assert differences(entries_of([[body(name)] for name in reversed(files)]), charged(files)) == []


def test_all_samples_in_one_ledger_are_the_calls_of_each() -> None:
    apart = pl.concat([_whole(*(name for name in FILES if name.startswith(f"{stem}."))) for stem in STEMS])
    assert sums(_whole(*FILES)).equals(sums(apart))


@pytest.mark.parametrize("name", [name for name in FILES if signal_of(name) == "metrics"])
def test_metrics_alone_give_the_tokens_they_count(name: str) -> None:
    entries = _whole(name)
    assert set(entries["granularity"]) == {"metric"}
    told = next(sample for sample in INDEX if sample["file"] == name)
    total = sum(call["input_tokens"] for call in told["billable_calls"])
    # Some emitters leave streams, embeddings or the cache out of their metrics; none may count more than was charged
    # but Spring AI, whose loops are summed up in its metrics too.
    assert 0 < entries["input_tokens"].sum() <= (3300 if name.startswith("spring") else total)
    assert 0 < entries["calls"].sum() <= len(told["billable_calls"])


def _one_by_one(names: Sequence[str], order: str) -> list[pl.DataFrame]:
    """The evidence of these samples, a record a batch."""
    records = numbered([single for name in names for single in singles(name)])
    evidence = recognise(decode(records))
    rows = list(range(evidence.height))
    if order == "shuffled":
        random.Random(3).shuffle(rows)
    return [evidence[row : row + 1] for row in (reversed(rows) if order == "reversed" else rows)]


def test_all_samples_one_record_at_a_time_from_the_last_to_the_first_give_the_same() -> None:
    assert sums(counted(_one_by_one(FILES, "reversed"))).equals(sums(_whole(*FILES)))


@pytest.mark.parametrize(("seed", "size", "restarts"), [(None, 40, False), (1, 20, False), (2, 60, True)])
def test_all_samples_reversed_or_shuffled_in_any_batches_give_the_same(
    seed: int | None, size: int, restarts: bool, tmp_path: Path
) -> None:
    records = numbered([single for name in FILES for single in singles(name)])
    order = records[::-1] if seed is None else random.Random(seed).sample(records, len(records))
    entries = entries_of([order[at : at + size] for at in range(0, len(order), size)], folder=tmp_path if restarts else None)
    assert sums(entries).equals(sums(_whole(*FILES)))
    assert entries["entry_id"].n_unique() == entries.height
    standing = entries.filter(pl.col("kind") == "call")["entry_id"]
    assert entries.filter(pl.col("kind") == "reversal")["stands_for"].is_in(standing.implode()).all()


@pytest.mark.soak
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("order", ["as sent", "reversed", "shuffled"])
@pytest.mark.parametrize("stem", STEMS)
def test_every_sample_one_record_at_a_time_in_every_order_gives_the_calls_that_were_charged(
    stem: str, order: str, restarts: bool, tmp_path: Path
) -> None:
    files = [name for name in FILES if name.startswith(f"{stem}.")]
    entries = counted(_one_by_one(files, order), folder=tmp_path if restarts else None)
    assert sums(entries).equals(sums(_whole(*files)))
    if set(files) & set(SPOKEN):
        assert differences(entries, charged(files)) == []


def test_everything_delivered_again_changes_nothing() -> None:
    batch = numbered([body(name) for name in SPOKEN])
    once, twice = entries_of([batch]), entries_of([batch, batch, list(reversed(batch))])
    assert twice.height == once.height


def test_entry_ids_are_the_same_after_a_replay() -> None:
    batch = numbered([body(name) for name in SPOKEN])
    assert entries_of([batch])["entry_id"].sort().equals(entries_of([list(reversed(batch))])["entry_id"].sort())
