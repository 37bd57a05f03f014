"""OTLP's protobuf read straight into Arrow, with descriptors that leave alone what is not needed.

A bytes field and a message field look the same on the wire, so whatever is to be read later, or never, is declared
as bytes here: a span that says nothing about a model is split off its request and never parsed. Field numbers are
those of opentelemetry-proto 1.x; the three signals share the shape of their requests.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import ptars
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool

_F = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "bytes": _F.TYPE_BYTES, "string": _F.TYPE_STRING, "int32": _F.TYPE_INT32, "int64": _F.TYPE_INT64, "bool": _F.TYPE_BOOL,
    "double": _F.TYPE_DOUBLE, "fixed64": _F.TYPE_FIXED64, "sfixed64": _F.TYPE_SFIXED64,
}  # fmt: skip

#: message → {field: (number, type)}; a trailing `*` makes the field repeated.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "AnyValue": {
        "text": (1, "string"),
        "flag": (2, "bool"),
        "whole": (3, "int64"),
        "real": (4, "double"),
        "array": (5, "bytes"),
        "map": (6, "bytes"),
    },
    "ArrayValue": {"values": (1, "AnyValue*")},
    "KeyValue": {"key": (1, "string"), "value": (2, "bytes")},
    "Request": {"resources": (1, "OfResource*")},
    "OfResource": {"resource": (1, "bytes"), "scopes": (2, "OfScope*")},
    "OfScope": {"scope": (1, "bytes"), "records": (2, "bytes*")},
    "Resource": {"attributes": (1, "KeyValue*")},
    "Scope": {"name": (1, "string"), "version": (2, "string"), "attributes": (3, "KeyValue*")},
    "Status": {"message": (2, "string"), "code": (3, "int32")},
    "Event": {"name": (2, "string"), "attributes": (3, "KeyValue*")},
    "Link": {"trace_id": (1, "bytes"), "span_id": (2, "bytes"), "parent_span_id": (4, "bytes")},
    "Span": {
        "trace_id": (1, "bytes"),
        "span_id": (2, "bytes"),
        "parent_span_id": (4, "bytes"),
        "name": (5, "string"),
        "kind": (6, "int32"),
        "start": (7, "fixed64"),
        "end": (8, "fixed64"),
        "attributes": (9, "KeyValue*"),
        "events": (11, "bytes*"),
        "status": (15, "Status"),
    },
    "LogRecord": {
        "time": (1, "fixed64"),
        "observed": (11, "fixed64"),
        "severity": (2, "int32"),
        "body": (5, "AnyValue"),
        "attributes": (6, "KeyValue*"),
        "trace_id": (9, "bytes"),
        "span_id": (10, "bytes"),
        "event_name": (12, "string"),
    },
    "Metric": {
        "name": (1, "string"),
        "unit": (3, "string"),
        "gauge": (5, "Numbers"),
        "sum": (7, "Numbers"),
        "histogram": (9, "Histogram"),
        "exponential": (10, "Exponential"),
    },
    "Numbers": {"points": (1, "NumberPoint*"), "temporality": (2, "int32"), "monotonic": (3, "bool")},
    "Histogram": {"points": (1, "HistogramPoint*"), "temporality": (2, "int32")},
    "Exponential": {"points": (1, "ExponentialPoint*"), "temporality": (2, "int32")},
    "NumberPoint": {
        "attributes": (7, "KeyValue*"),
        "start": (2, "fixed64"),
        "time": (3, "fixed64"),
        "real": (4, "double"),
        "whole": (6, "sfixed64"),
    },
    "HistogramPoint": {
        "attributes": (9, "KeyValue*"),
        "start": (2, "fixed64"),
        "time": (3, "fixed64"),
        "count": (4, "fixed64"),
        "sum": (5, "double"),
    },
    "ExponentialPoint": {
        "attributes": (1, "KeyValue*"),
        "start": (2, "fixed64"),
        "time": (3, "fixed64"),
        "count": (4, "fixed64"),
        "sum": (5, "double"),
    },
}


def _handlers() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="spanledger/otlp.proto", package="spanledger.otlp", syntax="proto2")
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = _F.LABEL_REPEATED if kind.endswith("*") else _F.LABEL_OPTIONAL
            plain = kind.rstrip("*")
            if plain in _KINDS:
                declared.field.add(name=name, number=number, label=label, type=_KINDS[plain])
            else:
                declared.field.add(
                    name=name, number=number, label=label, type=_F.TYPE_MESSAGE, type_name=f".spanledger.otlp.{plain}"
                )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    readers = ptars.HandlerPool([pool.FindFileByName(file.name)])
    return {name: readers.get_for_message(pool.FindMessageTypeByName(f"spanledger.otlp.{name}")) for name in _MESSAGES}


_HANDLERS = _handlers()


#: ptars keeps the interpreter to itself while it reads: so many bytes take some 2 ms, then others have their turn. Larger
#: slices are no faster, and slower where values are long, since what is read grows as it goes.
_SLICE_BYTES = 1024 * 1024


def read(message: str, blobs: pa.Array) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
    """Binary column → one row for each blob, and (index, reason) of those that are no such message; their rows are empty.

    One bad blob makes the reader give up on all, so the column is halved until the culprit stands alone.
    """
    bad: list[tuple[int, str]] = []
    cuts = _cuts(blobs)
    parts = [_read(message, blobs[begin:end], begin, bad) for begin, end in pairwise(cuts)]
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts), bad


def _cuts(blobs: pa.Array) -> list[int]:
    """Where to cut a column into slices of about `_SLICE_BYTES`."""
    _, offsets, data = blobs.buffers()
    if data is None or data.size <= _SLICE_BYTES:
        return [0, len(blobs)]
    bounds = np.frombuffer(offsets, dtype=np.int32)[blobs.offset : blobs.offset + len(blobs) + 1]
    inner = np.searchsorted(bounds, np.arange(bounds[0] + _SLICE_BYTES, bounds[-1], _SLICE_BYTES))
    return sorted({0, *inner.tolist(), len(blobs)})


def _read(message: str, blobs: pa.Array, offset: int, bad: list[tuple[int, str]]) -> pa.RecordBatch:
    try:
        return _HANDLERS[message].array_to_record_batch(blobs)
    except ValueError as error:
        if len(blobs) == 1:
            bad.append((offset, str(error)))
            return _HANDLERS[message].array_to_record_batch(pa.array([b""]))
        half = len(blobs) // 2
        parts = [_read(message, blobs[:half], offset, bad), _read(message, blobs[half:], offset + half, bad)]
        return pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
