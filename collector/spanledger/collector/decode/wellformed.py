"""Tell before the ack whether a body is an OTLP request at all, so that garbage is refused while the sender still listens."""

from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.decode.json_form import records
from spanledger.collector.received import Encoding, Signal

_REQUESTS: dict[Signal, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


class MalformedOtlp(ValueError):
    """The body is no OTLP request; the message says why. The sender's fault: sending it again cannot help."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`rejected` of the spans, log records or points in the body cannot be kept, for `reason`."""

    rejected: int
    reason: str = ""


def check(signal: Signal, encoding: Encoding, body: bytes) -> Checked:
    """Check an uncompressed body; raises `MalformedOtlp`."""
    try:
        if encoding == "protobuf":
            _REQUESTS[signal].FromString(body)
            return Checked(rejected=0)
        _, refused = records(body, signal)
    except (DecodeError, ValueError, TypeError, OverflowError, AttributeError, RecursionError) as error:
        raise MalformedOtlp(f"the body is no OTLP {signal} request in {encoding}: {error}") from error
    return Checked(rejected=refused.total(), reason="; ".join(reason for reason, _ in refused.most_common(3)))


def plainly_written(signal: Signal, body: bytes) -> bytes:
    """A request in protobuf as a plain writer writes it, without fields that nobody knows; raises `MalformedOtlp`."""
    try:
        request = _REQUESTS[signal].FromString(body)
    except DecodeError as error:
        raise MalformedOtlp(f"not an OTLP request: {error}") from error
    request.DiscardUnknownFields()
    return request.SerializeToString()
