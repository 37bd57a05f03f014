"""Every sample is read to the calls that were really charged, whatever the order, split and number of restarts."""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from spanledger.collector.decode.decode import decode
from spanledger.collector.recognise.recognise import recognise
from tests.dialects.bodies import INDEX, body, numbered, signal_of, singles
from tests.dialects.counting import charged, counted, differences, entries_of, sums

FILES = [sample["file"] for sample in INDEX]
SPOKEN = [name for name in FILES if signal_of(name) != "metrics"]
STEMS = sorted({name.split(".")[0] for name in FILES})


def _wrong(entries: pl.DataFrame) -> list[str]:
    """What differs from what the emitter of each stem was charged for, in a ledger of all of them."""
    by = ("trace_id", "service", "scope_name")
    owner = {key: stem for stem in STEMS for key in _whole(*_files(stem)).select(by).unique().iter_rows()}
    stems = pl.Series([owner[key] for key in entries.select(by).iter_rows()])
    return [wrong for stem in STEMS for wrong in differences(entries.filter(stems == stem), charged(_files(stem)))]


def _files(stem: str) -> list[str]:
    return [name for name in FILES if name.startswith(f"{stem}.")]


@cache
def _whole(*names: str) -> pl.DataFrame:
    """What these samples come to in one batch."""
    return entries_of([numbered([body(name) for name in names])])


@pytest.mark.parametrize("name", SPOKEN)
def test_a_sample_alone_gives_the_calls_that_were_charged(name: str) -> None:
    assert differences(_whole(name), charged([name])) == []
    # What an emitter's row knows needs no proof by its numbers.
    assert not _whole(name)["flags"].explode().is_in(["semantics_by_arithmetic"]).any()


@pytest.mark.parametrize("stem", [stem for stem in STEMS if len(_files(stem)) > 1])
def test_traces_logs_and_metrics_of_one_process_are_the_same_calls(stem: str) -> None:
    files = _files(stem)
    assert differences(entries_of([[body(name)] for name in files]), charged(files)) == []
    assert differences(entries_of([[body(name)] for name in reversed(files)]), charged(files)) == []


def test_all_samples_in_one_ledger_are_the_calls_of_each() -> None:
    apart = pl.concat([_whole(*_files(stem)) for stem in STEMS])
    assert sums(_whole(*FILES)).equals(sums(apart))
    assert _wrong(_whole(*FILES)) == []


#: Metrics that count something else than was charged: calls, input and output, and why.
_OWN_COUNTS = {
    "otel_openai_v2_legacy": (4, 1012, 200),  # a streamed call has a duration and no tokens
    "otel_botocore_bedrock": (2, 600, 400),  # the cache is no part of the input
    "openllmetry_0_62": (6, 4012, 801),  # a streamed call is left out; a stream's output is one too high
    "openlit": (7, 3612, 1000),  # Anthropic's input is without the cache
    "litellm": (3, 3000, 600),  # the failed call is left out
    "spring_ai_1": (1, 3300, 490),  # loops are summed up, and calls are not counted
    "cursor_enterprise": (1, 2300, 290),  # calls are not counted
}


@pytest.mark.parametrize("name", [name for name in FILES if signal_of(name) == "metrics"])
def test_metrics_alone_give_the_tokens_they_count(name: str) -> None:
    entries = _whole(name)
    assert set(entries["granularity"]) == {"metric"}
    charged_for = next(sample for sample in INDEX if sample["file"] == name)["billable_calls"]
    due = tuple(sum(call[field] for call in charged_for) for field in ("input_tokens", "output_tokens"))
    stem = name.split(".")[0]
    counted_by = tuple(entries[field].sum() for field in ("calls", "input_tokens", "output_tokens"))
    assert counted_by == _OWN_COUNTS.get(stem, (len(charged_for), *due))
    # Where metrics tell nothing of the cache, the price is too high, and the entry says so.
    said = entries.filter(pl.col("input_tokens") > 0)
    assert (said["cache_read_tokens"].is_not_null() | said["flags"].list.contains("detail_lost")).all()


def _one_by_one(names: Sequence[str], order: str) -> list[pl.DataFrame]:
    """The evidence of these samples, a record a batch."""
    records = numbered([single for name in names for single in singles(name)])
    evidence = recognise(decode(records))
    rows = list(range(evidence.height))
    if order == "shuffled":
        random.Random(3).shuffle(rows)
    return [evidence[row : row + 1] for row in (reversed(rows) if order == "reversed" else rows)]


def test_all_samples_one_record_at_a_time_from_the_last_to_the_first_give_the_same() -> None:
    entries = counted(_one_by_one(FILES, "reversed"))
    assert sums(entries).equals(sums(_whole(*FILES)))
    assert _wrong(entries) == []


@pytest.mark.parametrize(("seed", "size", "restarts"), [(1, 20, False), (2, 60, True)])
def test_all_samples_shuffled_in_any_batches_give_the_same(seed: int, size: int, restarts: bool, tmp_path: Path) -> None:
    records = numbered([single for name in FILES for single in singles(name)])
    order = random.Random(seed).sample(records, len(records))
    entries = entries_of([order[at : at + size] for at in range(0, len(order), size)], folder=tmp_path if restarts else None)
    assert sums(entries).equals(sums(_whole(*FILES)))
    assert _wrong(entries) == []
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
    files = _files(stem)
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


def test_evidence_stands_in_one_piece_so_that_nobody_has_to_put_its_columns_together_anew() -> None:
    evidence = recognise(decode(numbered([body(name) for name in FILES])))
    assert {column.n_chunks() for column in evidence.get_columns()} == {1}
