"""What is found where it stands is what protobuf's own reader finds, however a message was written; content leaves no trace."""

import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from spanledger.collector.decode import walk
from spanledger.collector.decode.decode import Telemetry, decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.content import LONGEST_UNREAD, read_by
from spanledger.collector.recognise.recognise import recognise
from tests.collector.fuzzing import mutated
from tests.dialects.bodies import INDEX, body, numbered


def _varint(value: int) -> bytes:
    held = bytearray()
    while value > 127:
        held.append(value & 127 | 128)
        value >>= 7
    return bytes([*held, value])


def _sized(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


_CODES = (Status.STATUS_CODE_UNSET, Status.STATUS_CODE_OK, Status.STATUS_CODE_ERROR)
_NUMBERS = st.one_of(st.integers(1, 20), st.integers(1, 2**20))
_FIELDS = st.one_of(
    st.tuples(_NUMBERS, st.just(0), st.integers(0, 2**64 - 1).map(_varint)),
    st.tuples(_NUMBERS, st.just(1), st.binary(min_size=8, max_size=8)),
    st.tuples(_NUMBERS, st.just(5), st.binary(min_size=4, max_size=4)),
    st.tuples(_NUMBERS, st.just(2), st.binary(max_size=300)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(_FIELDS, max_size=9), max_size=9), st.integers(1, 9), st.integers(1, 5))
def test_every_field_is_found_where_it_stands(messages: Any, together: int, most: int) -> None:
    written = [
        b"".join(_sized(number, value) if kind == 2 else _varint(number << 3 | kind) + value for number, kind, value in fields)
        for fields in messages
    ]
    ends = np.cumsum([0, *map(len, written)])
    data = np.frombuffer(b"".join(written) + b"\xff" * walk.PADDING, dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(walk, "_TOGETHER", together)
        patched.setattr(walk, "_MOST_STEPS", most)
        found = walk.walk(data, ends[:-1], ends[1:])
        cut_short = walk.walk(data, ends[:-1], np.maximum(ends[1:] - 1, ends[:-1]))
    expected = [
        (row, min(number << 3 | kind, 0xFFFF), value) for row, fields in enumerate(messages) for number, kind, value in fields
    ]
    places = zip(found.row.tolist(), found.tag.tolist(), found.begin.tolist(), found.end.tolist(), strict=True)
    assert [(row, tag, data[begin:end].tobytes()) for row, tag, begin, end in places] == expected
    assert len(found.odd) == 0
    assert sorted(cut_short.odd.tolist()) == [row for row, fields in enumerate(messages) if fields and len(written[row]) > 1]


def _request(spans: list[bytes]) -> Received:
    of_scope = _sized(1, _sized(1, b"made-for-a-test")) + b"".join(_sized(2, span) for span in spans)
    body = _sized(1, _sized(2, of_scope))
    return Received(
        sequence=1, received_at=datetime.now(UTC), signal="traces", encoding="protobuf", compression="identity", body=body
    )


def _whole(random_: random.Random) -> Span:
    span = Span(
        trace_id=random_.randbytes(16), span_id=random_.randbytes(8), name="chat", kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=random_.getrandbits(60),
        flags=257, trace_state="a=b",
    )  # fmt: skip
    span.status.code = random_.choice(_CODES)
    span.status.message = random_.choice(["", "over quota"])
    span.attributes.add(key="gen_ai.request.model").value.string_value = "gpt-4o"
    span.attributes.add(key="long").value.string_value = "x" * random_.randint(0, 20_000)
    span.attributes.add(key="listed").value.array_value.values.add(int_value=7)
    span.attributes.add(key="nothing")
    return span


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_spans_read_as_protobuf_reads_them_whatever_was_done_to_their_bytes(seed: int) -> None:
    random_ = random.Random(seed)
    written = [_whole(random_).SerializeToString() for _ in range(3)]
    # Damaged, with a group that nobody knows, and with the whole span said twice.
    damaged = mutated(random_, written[0])
    spans = [damaged, written[1] + b"\xbb\x06\x08\x01\xbc\x06", written[2] + written[1]]
    try:
        expected = list(
            ExportTraceServiceRequest.FromString(_request(spans).body).resource_spans[0].scope_spans[0].spans
        )  # fmt: skip
    except DecodeError:
        expected, spans = [Span.FromString(span) for span in spans[1:]], spans[1:]
    telemetry = decode([_request(spans)], "name|long|listed|chat|gpt")
    assert (telemetry.undecodable, telemetry.rejected, telemetry.seen) == ([], [], len(spans))
    records = telemetry.records
    about = [
        span
        for span, raw in zip(expected, spans, strict=True)
        if any(word in raw for word in (b"gen_ai.", b"chat", b"gpt", b"long"))
    ]
    if records.height != len(about):  # a damaged span whose every mark is gone
        return
    said: dict[str, list[Any]] = {
        "trace_id": [span.trace_id.hex() or None for span in about],
        "span_id": [span.span_id.hex() or None for span in about],
        "name": [span.name or None for span in about],
        "status": [span.status.code for span in about],
        "text": [span.status.message for span in about],
        "start": [span.start_time_unix_nano for span in about],
    }
    for column, values in said.items():
        empty: Any = 0 if column in ("status", "start") else "" if column in ("name", "text") else None
        found = [value or empty for value in records[column].to_list()]
        assert found == [value or empty for value in values], column
    attributes = telemetry.attributes
    texts = attributes.spelled(np.arange(len(attributes)), telemetry.keys).to_pylist()
    told = [
        (row, telemetry.keys[key], text)
        for row, key, text in zip(attributes.row.tolist(), attributes.key.tolist(), texts, strict=True)
    ]
    assert [(row, key) for row, key, _ in told] == [(row, pair.key) for row, span in enumerate(about) for pair in span.attributes]
    strings = [
        (row, pair.key, pair.value.string_value)
        for row, span in enumerate(about) for pair in span.attributes if pair.value.WhichOneof("value") == "string_value"
    ]  # fmt: skip
    assert [each for each in told if each[2] is not None and each in set(strings)] == strings


def test_samples_say_the_same_without_their_content_and_when_decoded_in_pieces() -> None:
    bodies = numbered([body(sample["file"]) for sample in INDEX])
    reads = read_by(Attribution())
    whole = decode(bodies)
    pieces = [decode([one]) for one in bodies]
    for piece in pieces:
        piece.without_content(reads, LONGEST_UNREAD)
    joined = Telemetry.joined(pieces)
    assert joined.attributes.data.size < whole.attributes.data.size / 2
    # Of a span about no model one piece does not know whether others speak of its trace.
    left, right = (recognise(each).filter(pl.col("role") != "link") for each in (whole, joined))
    assert left.sort("entry_id", "signal", "role").equals(right.sort("entry_id", "signal", "role"))
