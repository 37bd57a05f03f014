"""To a backend over OTLP/gRPC: protobuf goes on as it came, gzip as gzip; JSON, which gRPC does not have, as protobuf."""

import ssl
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import orjson
from google.protobuf.json_format import ParseDict
from google.protobuf.json_format import ParseError as NotOtlp
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.pass_through.deliver import Later, Never
from spanledger.collector.receive.inflate import inflated
from spanledger.collector.received import BODY_LIMIT, Received, Signal

_METHODS: dict[Signal, str] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_REQUESTS: dict[Signal, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_IDS = ("traceId", "spanId", "parentSpanId")
_LATER = frozenset(
    {
        grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
    }
)  # fmt: skip


class OverGrpc:
    """Calls the backend's Export methods on one channel."""

    def __init__(
        self, endpoint: str, *, headers: Mapping[str, str], timeout_seconds: float, insecure: bool, ca_file: str | None = None
    ) -> None:
        options = [("grpc.max_send_message_length", -1)]
        self._headers = tuple((name.lower(), value) for name, value in headers.items())
        self._timeout = timeout_seconds
        if insecure:
            self._channel: Any = grpc.insecure_channel(endpoint, options)  # type: ignore[no-untyped-call]
        else:
            ca = None
            if ca_file is not None:
                ssl.create_default_context(cafile=ca_file)  # gRPC itself would only fail later, and not clearly
                ca = Path(ca_file).read_bytes()
            self._channel = grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(ca), options)  # type: ignore[no-untyped-call]

    def deliver(self, received: Received) -> None:
        """Return when the backend answered OK; raises `Later` or `Never`."""
        compression = grpc.Compression.Gzip if received.compression == "gzip" else grpc.Compression.NoCompression
        export = self._channel.unary_unary(_METHODS[received.signal])
        try:
            export(_protobuf(received), timeout=self._timeout, metadata=self._headers, compression=compression)
        except grpc.RpcError as error:
            failed: Any = error
            message, code, after = f"{failed.code().name}: {failed.details()}", failed.code(), _retry_seconds(failed)
            # Without a word on when, as of a body that is larger than the backend takes, it would hold up all others for ever.
            if code in _LATER and (code is not grpc.StatusCode.RESOURCE_EXHAUSTED or after is not None):
                raise Later(message, after or 0) from error
            raise Never(message) from error

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _retry_seconds(failed: Any) -> float | None:
    """When the backend asks to be tried again; None when it does not say that this helps (OTLP's specification)."""
    for key, value in failed.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                details = Status.FromString(value).details
                told = next((one for one in details if one.type_url.endswith("/google.rpc.RetryInfo")), None)
                return None if told is None else RetryInfo.FromString(told.value).retry_delay.ToTimedelta().total_seconds()
            except DecodeError:
                return None
    return None


def _protobuf(received: Received) -> bytes:
    plain = inflated(received.body, BODY_LIMIT) if received.compression == "gzip" else received.body
    if received.encoding == "protobuf":
        return plain
    request = _REQUESTS[received.signal]()
    try:
        ParseDict(_with_base64_ids(orjson.loads(plain)), request, ignore_unknown_fields=True)
    except (NotOtlp, ValueError) as error:
        raise Never(f"the JSON cannot be sent over gRPC: {error}") from error
    return bytes(request.SerializeToString())


def _with_base64_ids(found: Any) -> Any:
    """OTLP/JSON spells ids in hex, protobuf's own JSON in base64."""
    if isinstance(found, list):
        return [_with_base64_ids(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        key: b64encode(bytes.fromhex(value)).decode() if key in _IDS and isinstance(value, str) else _with_base64_ids(value)
        for key, value in found.items()
    }
