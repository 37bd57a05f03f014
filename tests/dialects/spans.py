"""Spans written in a line, for what no sample shows: built from the emitters' sources and documents (docs/dialects.md)."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isfinite
from typing import Any

from spanledger.collector.received import Received
from tests.dialects.bodies import NOW, received

_BEGIN = int(NOW.timestamp() * 1e9) - 3_600_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Times are milliseconds after a common start; ids are any words."""

    attributes: Mapping[str, Any]
    scope: str = "my.app"
    version: str = ""
    name: str = "span"
    trace: str = "trace"
    id: str = "span"
    parent: str = ""
    start: float = 0
    end: float = 100
    failed: bool = False
    service: str = "app"
    scope_attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log record at a time in milliseconds after the common start, written inside a span if it names one."""

    attributes: Mapping[str, Any]
    scope: str = "my.app"
    event: str = ""
    text: str = ""
    trace: str = ""
    inside: str = ""
    at: float = 100
    service: str = "app"
    resource: Mapping[str, Any] = field(default_factory=dict)


def chat(input_tokens: int | None = 1000, output_tokens: int | None = 200, **changes: Any) -> Span:
    """A call by the conventions; changes are fields of `Span`, attributes are added."""
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    if input_tokens is not None:
        attributes["gen_ai.usage.input_tokens"] = input_tokens  # type: ignore[assignment]
    if output_tokens is not None:
        attributes["gen_ai.usage.output_tokens"] = output_tokens  # type: ignore[assignment]
    return Span(
        **{"scope": "spanledger.instrumentation", **changes, "attributes": {**attributes, **changes.get("attributes", {})}}
    )


def body_of(*spans: Span, sequence: int = 1) -> Received:
    """One OTLP/JSON request of these spans."""
    return received({"resourceSpans": [_resource(span) for span in spans]}, "traces", sequence)


def logs_of(*logs: Log, sequence: int = 1) -> Received:
    """One OTLP/JSON request of these log records."""
    return received({"resourceLogs": [_resource_of_log(log) for log in logs]}, "logs", sequence)


def _resource_of_log(log: Log) -> dict[str, Any]:
    record = {
        "timeUnixNano": str(_BEGIN + int(log.at * 1e6)),
        "eventName": log.event,
        "body": {"stringValue": log.text} if log.text else {},
        "attributes": attributes(log.attributes),
    }
    if log.trace:
        record |= {"traceId": hexed(log.trace, 16), "spanId": hexed(log.trace + log.inside, 8)}
    return {
        "resource": {"attributes": attributes({"service.name": log.service, **log.resource})},
        "scopeLogs": [{"scope": {"name": log.scope}, "logRecords": [record]}],
    }


def _resource(span: Span) -> dict[str, Any]:
    scope = {"name": span.scope, "version": span.version, "attributes": attributes(span.scope_attributes)}
    return {
        "resource": {"attributes": attributes({"service.name": span.service, **span.resource})},
        "scopeSpans": [{"scope": scope, "spans": [as_json(span)]}],
    }


def as_json(span: Span) -> dict[str, Any]:
    """The span as OTLP/JSON writes it."""
    return {
        "traceId": hexed(span.trace, 16),
        "spanId": hexed(span.trace + span.id, 8),
        "parentSpanId": hexed(span.trace + span.parent, 8) if span.parent else "",
        "name": span.name,
        "kind": 3,
        "startTimeUnixNano": str(_BEGIN + int(span.start * 1e6)),
        "endTimeUnixNano": str(_BEGIN + int(span.end * 1e6)),
        "attributes": attributes(span.attributes),
        "status": {"code": 2} if span.failed else {},
    }


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP/JSON writes them."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if isfinite(value) else {"nan": "NaN", "inf": "Infinity"}[str(value)]}
        case list():
            return {"arrayValue": {"values": [_value(each) for each in value]}}
        case dict():
            return {"kvlistValue": {"values": attributes(value)}}
        case bytes():
            return {"bytesValue": b64encode(value).decode()}
        case None:
            return {}
    return {"stringValue": value}


def hexed(word: str, size: int) -> str:
    """An id from a word."""
    return blake2b(word.encode(), digest_size=size).hexdigest()


def shuffled(spans: Sequence[Span], order: Sequence[int]) -> list[Span]:
    """The spans in this order."""
    return [spans[at] for at in order]
