"""Values that stay bytes until they are asked for read as protobuf's own reader reads them, however they were written."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from spanledger.collector.decode.attributes import Attributes
from spanledger.collector.decode.cut import cut
from spanledger.collector.recognise.shapes import Shapes

_PLAIN = st.one_of(
    st.text(max_size=300).map(lambda held: AnyValue(string_value=held)),
    st.booleans().map(lambda held: AnyValue(bool_value=held)),
    st.integers(-(2**63), 2**63 - 1).map(lambda held: AnyValue(int_value=held)),
    st.floats().map(lambda held: AnyValue(double_value=held)),
    st.binary(max_size=40).map(lambda held: AnyValue(bytes_value=held)),
    st.just(AnyValue()),
).map(AnyValue.SerializeToString)
#: Legal, but not as a plain writer writes: a length longer than need be, a field said twice, an unknown field before it.
_ODD = st.sampled_from([b"\x0a\x83\x00abc", b"\x0a\x01a\x0a\x02bc", b"\x50\x01\x18\x07", b"\x10\x01\x18\x80\x01", b"\x0a\x00"])
_BROKEN = st.sampled_from(
    [b"\x0a", b"\x0a\x05ab", b"\x21\x00", b"\x18", b"\x18\x80", b"\xff\xff", b"\x0a\xff\xff\xff\xff\xff\x01a"]
)


def _spelled(blob: bytes) -> str | None:
    try:
        value = AnyValue.FromString(blob)
    except Exception:
        return None
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return str(value.int_value)
        case "bool_value":
            return str(value.bool_value).lower()
        case "double_value":
            return repr(value.double_value)
    return None


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(_PLAIN, _ODD, _BROKEN), max_size=12))
def test_a_value_reads_as_protobuf_reads_it(blobs: list[bytes]) -> None:
    at = np.arange(len(blobs))
    ends = np.cumsum([0, *map(len, blobs)])
    data = np.frombuffer(b"".join(blobs), dtype=np.uint8)
    attributes = Attributes.of(at, np.zeros(len(blobs), dtype=np.int64), data, ends[:-1], ends[1:])
    told = attributes.spelled(at, ["key"]).to_pylist()
    for blob, found in zip(blobs, told, strict=True):
        expected = _spelled(blob)
        if expected is not None and AnyValue.FromString(blob).WhichOneof("value") == "double_value":
            assert found is not None, blob
            assert float(found) == float(expected) or expected == "nan", blob
        else:
            assert found == expected, blob
    assert attributes.spelled(at[::-1], ["key"]).to_pylist() == told[::-1]
    kept = attributes.kept(at % 2 == 0)
    assert kept.spelled(at, ["key"]).to_pylist() == [None if place % 2 else text for place, text in enumerate(told)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=30))
def test_records_are_of_one_shape_if_and_only_if_they_have_the_same_keys_in_the_same_order(records: list[list[int]]) -> None:
    row = np.array([at for at, keys in enumerate(records) for _ in keys], dtype=np.int64)
    key = np.array([each for keys in records for each in keys], dtype=np.int64)
    nowhere = np.zeros(len(row), dtype=np.int64)
    attributes = Attributes.of(row, key, np.zeros(0, dtype=np.uint8), nowhere, nowhere)
    shapes = Shapes.of(attributes, len(records))
    for at, keys in enumerate(records):
        assert records[shapes.first[shapes.of_row[at]]] == keys
    assert len(shapes.first) == len({tuple(keys) for keys in records})


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_pieces_of_a_buffer_are_cut_in_any_order_also_where_they_overlap(held: bytes, ends: list[tuple[int, int]]) -> None:
    pieces = [(min(one, other, len(held)), min(max(one, other), len(held))) for one, other in ends]
    begin, end = (np.array([piece[side] for piece in pieces], dtype=np.int64) for side in (0, 1))
    assert cut(pa.py_buffer(held), begin, end).to_pylist() == [held[one:other] for one, other in pieces]
