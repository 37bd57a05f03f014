"""Any mix of samples, in any order, split and delivered again in any way, gives the same sums."""

from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanledger.collector.received import Received
from tests.dialects.bodies import INDEX, singles
from tests.dialects.counting import entries_of, sums

_NAMES = [sample["file"] for sample in INDEX]


@cache
def _records(names: tuple[str, ...]) -> tuple[Received, ...]:
    return tuple(record for name in names for record in singles(name))


@cache
def _whole(names: tuple[str, ...]) -> pl.DataFrame:
    return sums(entries_of([list(_records(names))]))


@st.composite
def _deliveries(draw: st.DrawFn) -> tuple[tuple[str, ...], list[list[int]]]:
    """Names of samples, and which of their records come in which batch."""
    names = tuple(draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3, unique=True)))
    count = len(_records(names))
    sent = [*draw(st.permutations(range(count))), *draw(st.lists(st.sampled_from(range(count)), max_size=10))]
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    bounds = [0, *cuts, len(sent)]
    return names, [sent[begin:end] for begin, end in pairwise(bounds)]


def _same_sums(names: tuple[str, ...], deliveries: list[list[int]], *, restarts: bool) -> None:
    records = _records(names)
    batches = [[records[at] for at in batch] for batch in deliveries]
    with TemporaryDirectory() as folder:
        entries = entries_of(batches, folder=Path(folder) if restarts else None)
    assert sums(entries).equals(_whole(names))
    assert entries["entry_id"].n_unique() == entries.height


@given(_deliveries(), st.booleans())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_sums_depend_neither_on_order_nor_on_split_nor_on_how_often_a_record_comes(
    given_deliveries: tuple[tuple[str, ...], list[list[int]]], restarts: bool
) -> None:
    _same_sums(*given_deliveries, restarts=restarts)


@pytest.mark.soak
@given(_deliveries(), st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_sums_depend_on_no_order_in_four_hundred_mixes(
    given_deliveries: tuple[tuple[str, ...], list[list[int]]], restarts: bool
) -> None:
    _same_sums(*given_deliveries, restarts=restarts)
