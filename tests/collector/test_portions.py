"""How much is decoded at once: by what bodies hold, whatever was sent."""

import gzip
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector import reading, steps
from spanledger.collector.decode.decode import Telemetry, decode
from spanledger.collector.decode.portions import portions, weight_of
from spanledger.collector.journal.journal import Journal
from spanledger.collector.reading import PIECE_BYTES, Reading
from spanledger.collector.received import Received
from spanledger.collector.recognise.recognise import recognise
from tests.collector.made import calls, stored
from tests.collector.test_journal import MIB, append, body
from tests.collector.test_loop import collected


def smallest(count: int) -> bytes:
    """A request with the smallest spans that are about a model."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(count):
        spans.add().attributes.add(key="gen_ai.system").value.string_value = "x"
    return request.SerializeToString()


class Watched:
    """Decodes, and notes how often, and of several bodies how much at once."""

    def __init__(self) -> None:
        self.times = 0
        self.bytes: list[int] = []
        self.records: list[int] = []

    def decode(self, bodies: Sequence[Received]) -> Telemetry:
        telemetry = decode(bodies, bounded=True)
        self.times += 1
        if len(bodies) > 1:
            self.bytes.append(sum(weight_of(one) for one in bodies))
            self.records.append(telemetry.seen)
        return telemetry

    def recognise(self, telemetry: Telemetry) -> pl.DataFrame:
        return pl.DataFrame()


def zipped(content: bytes, **more: Any) -> Received:
    return body(gzip.compress(content), compression="gzip", **more)


@pytest.mark.parametrize(
    ("one", "count"),
    [
        (zipped(calls(512)[0]), 40),
        (zipped(smallest(30_000)), 4),
        (zipped(b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join([b"{}"] * 20_000) + b"]}]}]}", encoding="json"), 6),
        (body(smallest(1)), 17_000),
    ],
    ids=["calls as gzip", "small spans as gzip", "empty JSON as gzip", "small bodies"],
)
def test_few_bytes_that_become_many_are_decoded_some_at_a_time(tmp_path: Path, one: Received, count: int) -> None:
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=64 * MIB)
    append(journal, *([one] * count))
    watched = Watched()
    read = Reading(journal, watched, threading.Event(), {})
    after = bodies = 0
    while (batch := read.now(after, lambda last, so_many: None)) is not None:
        assert batch.error is None
        after, bodies = batch.mark, bodies + batch.bodies
    read.close()
    assert (after, bodies, journal.unread) == (count, count, 0)
    assert max(watched.bytes, default=0) <= 1.5 * PIECE_BYTES
    assert max(watched.records, default=0) <= 150_000
    assert watched.times > 1
    journal.close()


def test_the_body_that_ends_a_piece_and_what_is_left_go_with_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = body(smallest(50))
    monkeypatch.setattr(reading, "PIECE_BYTES", 10 * len(one.body) - 1)
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)
    append(journal, *([one] * 33))
    watched = Watched()
    read = Reading(journal, watched, threading.Event(), {})
    batch = read.now(0, lambda last, so_many: None)
    assert batch is not None
    assert (batch.bodies, watched.records) == (33, [500, 500, 500, 150])
    read.close()
    journal.close()


@pytest.mark.parametrize("long_bytes", [0, 1 << 40], ids=["decoding ahead", "decoding in turn"])
def test_a_batch_that_ends_inside_of_what_was_taken_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_bytes: int
) -> None:
    monkeypatch.setattr(reading, "LONG_BYTES", long_bytes)
    monkeypatch.setattr(reading, "PIECE_BYTES", 3_000)
    monkeypatch.setattr(reading, "FITTING_RECORDS", 20)
    made = [calls(7) for _ in range(12)]
    poison, [poisoned] = calls()

    def failing(telemetry: Telemetry, *rest: Any) -> pl.DataFrame:
        evidence = recognise(telemetry, *rest)
        if "span_id" in evidence.columns and poisoned in evidence["span_id"]:
            raise KeyError("a fault of ours")
        return evidence

    monkeypatch.setattr(steps, "recognise", failing)
    bodies = [one for one, _ in made]
    collected(tmp_path, *bodies[:5], poison, *bodies[5:], posted=True)
    assert sorted(stored(tmp_path)) == sorted(one for _, ids in made for one in ids)


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans())), st.integers(1, 1_000))
def test_portions_are_the_bodies_in_their_order_and_larger_than_enough_only_when_one_body_is(
    sizes: list[tuple[int, bool, bool]], enough: int
) -> None:
    plain = [b"[" * size if json else bytes(size) for size, json, _ in sizes]
    given_bodies = [
        (zipped if gz else body)(content, encoding="json" if json else "protobuf")
        for content, (_, json, gz) in zip(plain, sizes, strict=True)
    ]
    found = list(portions(given_bodies, enough))
    assert [one.body for some in found for one in some] == plain
    assert all(len(some) == 1 or sum(map(weight_of, some)) <= enough for some in found)


def test_what_is_no_gzip_is_left_to_decoding_to_tell() -> None:
    wrong = body(b"no gzip", compression="gzip")
    assert list(portions([wrong], 1)) == [[wrong]]
    assert [one.sequence for one in decode([wrong]).undecodable] == [0]
