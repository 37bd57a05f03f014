"""OTLP/JSON transcribed to protobuf, record by record, so that both encodings are read by the same columns.

It differs from protobuf's own JSON: ids are hex, not base64; 64-bit integers come as strings or numbers; enums as
numbers or names; fields nobody knows are to be ignored; an empty value object means null.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from spanledger.collector.received import Signal

#: signal → the names of its three levels.
_LEVELS = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}
_KINDS = {"SPAN_KIND_INTERNAL": 1, "SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3, "SPAN_KIND_PRODUCER": 4, "SPAN_KIND_CONSUMER": 5}
_STATUSES = {"STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_TEMPORALITIES = {"AGGREGATION_TEMPORALITY_DELTA": 1, "AGGREGATION_TEMPORALITY_CUMULATIVE": 2}
_DEEPEST = 32

Record = tuple[bytes, bytes, bytes]


def records(body: bytes, signal: Signal) -> tuple[list[Record], Counter[str]]:
    """(resource, scope, record) in protobuf for each record, and how many were refused, by reason.

    Raises `ValueError` if the body as a whole is no OTLP/JSON.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    of_resource, of_scope, leaf = _LEVELS[signal]
    if not isinstance(request, dict):
        raise ValueError(f"an OTLP/JSON request is an object with {of_resource}, this is a {type(request).__name__}")
    transcribe = _TRANSCRIBERS[signal]
    found: list[Record] = []
    refused: Counter[str] = Counter()
    for resources in _objects(request, of_resource):
        resource = Resource(attributes=_attributes(_object(resources, "resource"))).SerializeToString()
        for scopes in _objects(resources, of_scope):
            scope = _scope(_object(scopes, "scope"))
            for record in _objects(scopes, leaf):
                try:
                    found.append((resource, scope, transcribe(record)))
                except (ValueError, TypeError, OverflowError, AttributeError) as error:
                    refused[f"{leaf}: {error}"[:200]] += 1
    return found, refused


def _objects(parent: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    children = parent.get(name) or []
    if not isinstance(children, list) or not all(isinstance(child, dict) for child in children):
        raise ValueError(f"{name} must be a list of objects")
    return children


def _object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    child = parent.get(name) or {}
    if not isinstance(child, dict):
        raise ValueError(f"{name} must be an object")
    return child


def _scope(scope: dict[str, Any]) -> bytes:
    return InstrumentationScope(
        name=_text(scope.get("name")), version=_text(scope.get("version")), attributes=_attributes(scope)
    ).SerializeToString()


def _span(span: dict[str, Any]) -> bytes:
    status = _object(span, "status")
    return Span(
        trace_id=_id(span, "traceId"),
        span_id=_id(span, "spanId"),
        parent_span_id=_id(span, "parentSpanId"),
        name=_text(span.get("name")),
        kind=_enum(span.get("kind"), _KINDS),
        start_time_unix_nano=_whole(span.get("startTimeUnixNano")),
        end_time_unix_nano=_whole(span.get("endTimeUnixNano")),
        attributes=_attributes(span),
        events=[Span.Event(name=_text(e.get("name")), attributes=_attributes(e)) for e in _objects(span, "events")],
        status=Status(code=_enum(status.get("code"), _STATUSES), message=_text(status.get("message"))),
    ).SerializeToString()


def _log(log: dict[str, Any]) -> bytes:
    return LogRecord(
        time_unix_nano=_whole(log.get("timeUnixNano")),
        observed_time_unix_nano=_whole(log.get("observedTimeUnixNano")),
        trace_id=_id(log, "traceId"),
        span_id=_id(log, "spanId"),
        event_name=_text(log.get("eventName")),
        body=_value(_object(log, "body"), 0),
        attributes=_attributes(log),
    ).SerializeToString()


def _metric(metric: dict[str, Any]) -> bytes:
    name, unit = _text(metric.get("name")), _text(metric.get("unit"))
    for kind in ("sum", "gauge"):
        if kind in metric:
            values = _object(metric, kind)
            points = [_number_point(point) for point in _objects(values, "dataPoints")]
            if kind == "gauge":
                return Metric(name=name, unit=unit, gauge=Gauge(data_points=points)).SerializeToString()
            total = Sum(
                data_points=points, aggregation_temporality=_temporality(values), is_monotonic=bool(values.get("isMonotonic"))
            )
            return Metric(name=name, unit=unit, sum=total).SerializeToString()
    if "histogram" in metric:
        values = _object(metric, "histogram")
        buckets = [HistogramDataPoint(**_bucketed(point)) for point in _objects(values, "dataPoints")]
        histogram = Histogram(data_points=buckets, aggregation_temporality=_temporality(values))
        return Metric(name=name, unit=unit, histogram=histogram).SerializeToString()
    if "exponentialHistogram" in metric:
        values = _object(metric, "exponentialHistogram")
        scaled = [ExponentialHistogramDataPoint(**_bucketed(point)) for point in _objects(values, "dataPoints")]
        exponential = ExponentialHistogram(data_points=scaled, aggregation_temporality=_temporality(values))
        return Metric(name=name, unit=unit, exponential_histogram=exponential).SerializeToString()
    return Metric(name=name, unit=unit).SerializeToString()


def _number_point(point: dict[str, Any]) -> NumberDataPoint:
    times: dict[str, Any] = {
        "start_time_unix_nano": _whole(point.get("startTimeUnixNano")),
        "time_unix_nano": _whole(point.get("timeUnixNano")),
    }
    if point.get("asInt") is not None:
        return NumberDataPoint(attributes=_attributes(point), as_int=_whole(point["asInt"]), **times)
    return NumberDataPoint(attributes=_attributes(point), as_double=_real(point.get("asDouble", 0)), **times)


def _bucketed(point: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "attributes": _attributes(point),
        "start_time_unix_nano": _whole(point.get("startTimeUnixNano")),
        "time_unix_nano": _whole(point.get("timeUnixNano")),
        "count": _whole(point.get("count")),
    }
    return fields if point.get("sum") is None else {**fields, "sum": _real(point["sum"])}


def _temporality(values: dict[str, Any]) -> Any:
    return _enum(values.get("aggregationTemporality"), _TEMPORALITIES)


def _attributes(parent: dict[str, Any]) -> list[KeyValue]:
    return [
        KeyValue(key=_text(pair.get("key")), value=_value(pair.get("value") or {}, 0)) for pair in _objects(parent, "attributes")
    ]


def _value(value: dict[str, Any], depth: int) -> AnyValue:
    if depth > _DEEPEST:
        raise ValueError(f"a value nested deeper than {_DEEPEST}")
    match next(((kind, held) for kind, held in value.items() if held is not None), None):
        case ("stringValue", held):
            return AnyValue(string_value=_text(held))
        case ("intValue", held):
            return AnyValue(int_value=_whole(held))
        case ("doubleValue", held):
            return AnyValue(double_value=_real(held))
        case ("boolValue", held):
            return AnyValue(bool_value=held in (True, "true"))
        case ("bytesValue", held):
            # What they say is never read, only that they are no text and no number.
            return AnyValue(bytes_value=_text(held).encode())
        case ("arrayValue", held):
            return AnyValue(array_value=ArrayValue(values=[_value(each, depth + 1) for each in _objects(held, "values")]))
        case ("kvlistValue", held):
            pairs = [
                KeyValue(key=_text(p.get("key")), value=_value(p.get("value") or {}, depth + 1)) for p in _objects(held, "values")
            ]
            return AnyValue(kvlist_value=KeyValueList(values=pairs))
    return AnyValue()


def _text(held: Any) -> str:
    # A lone surrogate is legal in a JSON escape and illegal in UTF-8.
    return "" if held is None else str(held).encode(errors="replace").decode()


def _whole(held: Any) -> int:
    if held is None or held == "":
        return 0
    return int(held)


def _real(held: Any) -> float:
    return float(held)


def _id(parent: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(parent.get(name) or "")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is not hex") from error


def _enum(held: Any, names: Mapping[str, int]) -> Any:
    if isinstance(held, str) and not held.isdigit():
        return names.get(held, 0)
    return int(held or 0)


_TRANSCRIBERS: dict[Signal, Callable[[dict[str, Any]], bytes]] = {"traces": _span, "logs": _log, "metrics": _metric}
