"""Why a body is not taken, as a tree: each says whose fault it is, because OTLP needs to know whether to send again.

Refused
├── Malformed       the sender's fault: 400 / INVALID_ARGUMENT, never sent again
├── TooLarge        the sender's fault: 413 / RESOURCE_EXHAUSTED without a delay, never sent again
├── WrongType       the sender's fault: 415 / UNIMPLEMENTED
├── NoPipeline      a signal that this collector is configured not to take: 404 / UNIMPLEMENTED
├── UnknownKey      the sender's fault: 401 / UNAUTHENTICATED
└── Busy            ours and passing: 503 with Retry-After / RESOURCE_EXHAUSTED with RetryInfo, sent again
"""

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status


class Refused(Exception):
    """A body that is not taken. The message is for the sender's log."""

    http_status = 500
    grpc_status = grpc.StatusCode.INTERNAL
    retry_after_seconds = 0
    #: Set once the refusal stands in the figures.
    counted = False

    def status(self) -> Status:
        """The google.rpc.Status that both transports carry."""
        details = []
        if self.retry_after_seconds:
            packed = AnyMessage()
            packed.Pack(RetryInfo(retry_delay=Duration(seconds=self.retry_after_seconds)))
            details.append(packed)
        return Status(code=self.grpc_status.value[0], message=str(self), details=details)


class Malformed(Refused):
    """Not OTLP, or not the compression it claims."""

    http_status = 400
    grpc_status = grpc.StatusCode.INVALID_ARGUMENT


class TooLarge(Refused):
    """More bytes than the limit, as sent or when decompressed."""

    http_status = 413
    grpc_status = grpc.StatusCode.RESOURCE_EXHAUSTED


class WrongType(Refused):
    """A content type or encoding that OTLP does not have."""

    http_status = 415
    grpc_status = grpc.StatusCode.UNIMPLEMENTED


class NoPipeline(Refused):
    """The configuration has no pipeline for this signal."""

    http_status = 404
    grpc_status = grpc.StatusCode.UNIMPLEMENTED


class UnknownKey(Refused):
    """No API key, or one that is not known."""

    http_status = 401
    grpc_status = grpc.StatusCode.UNAUTHENTICATED


class Busy(Refused):
    """The journal is full, the disk is full, or the collector is stopping."""

    http_status = 503
    grpc_status = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
