"""Every sample is read to the calls that were really charged, whatever the order, split and number of restarts."""

import random
from pathlib import Path

import polars as pl
import pytest

from tests.dialects.bodies import INDEX, body, numbered, signal_of, singles
from tests.dialects.counting import charged, differences, entries_of, sums

FILES = [sample["file"] for sample in INDEX]
SPOKEN = [name for name in FILES if signal_of(name) != "metrics"]
STEMS = sorted({name.split(".")[0] for name in FILES})


@pytest.mark.parametrize("name", SPOKEN)
def test_a_sample_alone_gives_the_calls_that_were_charged(name: str) -> None:
    assert differences(entries_of([[body(name)]]), charged([name])) == []


@pytest.mark.parametrize("stem", [stem for stem in STEMS if sum(name.startswith(f"{stem}.") for name in FILES) > 1])
def test_traces_logs_and_metrics_of_one_process_are_the_same_calls(stem: str) -> None:
    files = [name for name in FILES if name.startswith(f"{stem}.")]
    assert differences(entries_of([[body(name)] for name in files]), charged(files)) == []
    assert differences(entries_of([[body(name)] for name in reversed(files)]), charged(files)) == []


def test_all_samples_in_one_ledger_are_the_calls_of_each() -> None:
    together = entries_of([numbered([body(name) for name in FILES])])
    apart = pl.concat([entries_of([[body(name) for name in FILES if name.startswith(f"{stem}.")]]) for stem in STEMS])
    assert sums(together).equals(sums(apart))


@pytest.mark.parametrize("name", [name for name in FILES if signal_of(name) == "metrics"])
def test_metrics_alone_give_the_tokens_they_count(name: str) -> None:
    entries = entries_of([[body(name)]])
    assert set(entries["granularity"]) == {"metric"}
    told = next(sample for sample in INDEX if sample["file"] == name)
    total = sum(call["input_tokens"] for call in told["billable_calls"])
    # Some emitters leave streams, embeddings or the cache out of their metrics; none may count more than was charged
    # but Spring AI, whose loops are summed up in its metrics too.
    assert 0 < entries["input_tokens"].sum() <= (3300 if name.startswith("spring") else total)
    assert 0 < entries["calls"].sum() <= len(told["billable_calls"])


@pytest.mark.parametrize(
    "name", [name for name in SPOKEN if name.startswith(("dup_", "gemini", "spring", "cursor", "ag2", "vercel_ai_v7."))]
)
def test_one_record_at_a_time_from_the_last_to_the_first_gives_the_same(name: str) -> None:
    whole = sums(entries_of([[body(name)]]))
    assert sums(entries_of([[each] for each in reversed(singles(name))])).equals(whole)


@pytest.mark.parametrize(("seed", "size", "restarts"), [(1, 20, False), (2, 60, True)])
def test_all_samples_shuffled_and_in_any_batches_give_the_same(seed: int, size: int, restarts: bool, tmp_path: Path) -> None:
    records = numbered([single for name in SPOKEN for single in singles(name)])
    whole = sums(entries_of([records]))
    shuffled = random.Random(seed).sample(records, len(records))
    batches = [shuffled[at : at + size] for at in range(0, len(shuffled), size)]
    entries = entries_of(batches, folder=tmp_path if restarts else None)
    assert sums(entries).equals(whole)
    assert entries["entry_id"].n_unique() == entries.height
    standing = entries.filter(pl.col("kind") == "call")["entry_id"]
    assert entries.filter(pl.col("kind") == "reversal")["stands_for"].is_in(standing.implode()).all()


def test_everything_delivered_again_changes_nothing() -> None:
    batch = numbered([body(name) for name in SPOKEN])
    once, twice = entries_of([batch]), entries_of([batch, batch, list(reversed(batch))])
    assert twice.height == once.height


def test_entry_ids_are_the_same_after_a_replay() -> None:
    batch = numbered([body(name) for name in SPOKEN])
    assert entries_of([batch])["entry_id"].sort().equals(entries_of([list(reversed(batch))])["entry_id"].sort())
