"""What both transports do with a body: look whether it is OTLP, journal it, and only then say that it is kept."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsPartialSuccess, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse

from spanledger.collector.decode.wellformed import Checked, MalformedOtlp, check
from spanledger.collector.receive.crowded import crowded
from spanledger.collector.receive.inflate import inflated
from spanledger.collector.receive.refused import Busy, Malformed, NoPipeline, Refused, TooLarge
from spanledger.collector.received import BODY_LIMIT, Compression, Encoding, Received, Signal

# Above this a check would hold up the other connections for more than a few milliseconds.
_INLINE = 256 * 1024


class Journal(Protocol):
    """Where accepted bodies go; `append` returns when the body is on disk, or raises `Refused`."""

    async def append(self, received: Received) -> None:
        """Keep the body."""


@dataclass(slots=True)
class Tally:
    """What came in since the start, by signal and outcome, for the operator."""

    accepted: dict[Signal, int]
    accepted_bytes: dict[Signal, int]
    refused: dict[str, int]
    rejected: dict[Signal, int]


class Accept:
    """The door of the collector. Used from one event loop; checks of large or compressed bodies run in its threads."""

    def __init__(
        self,
        journal: Journal,
        *,
        body_limit: int = BODY_LIMIT,
        signals: Collection[Signal] = ("traces", "logs", "metrics"),
        key_id: Callable[[str], str] | None = None,
        in_flight_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        """`key_id` turns an Authorization header into an API key's id, or raises `UnknownKey`; None asks for no key.

        A signal that is not among `signals` has no pipeline and is refused. Past `in_flight_bytes` of bodies that are being
        checked or journalled, others are told to wait.
        """
        self.body_limit = body_limit
        self.signals = frozenset(signals)
        self.tally = Tally({}, {}, {}, {})
        self._journal = journal
        self._key_id = key_id
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="spanledger-check")
        self._open = True
        self._in_flight = 0
        self._in_flight_bytes = in_flight_bytes

    async def accept(
        self, signal: Signal, encoding: Encoding, compression: Compression, body: bytes, authorization: str = ""
    ) -> Message:
        """Journal a body and give OTLP's response; when this returns the body is on disk. Raises `Refused`."""
        self._in_flight += len(body)
        try:
            if not self._open:
                raise Busy("the collector is stopping", retry_after_seconds=1)
            if self._in_flight > self._in_flight_bytes and self._in_flight > len(body):
                raise Busy("too many bytes are being received at once", retry_after_seconds=1)
            if signal not in self.signals:
                raise NoPipeline(f"service.pipelines has no pipeline for {signal}")
            api_key_id = self._key_id(authorization) if self._key_id else ""
            if compression == "identity" and len(body) <= _INLINE:
                checked = self._check(signal, encoding, compression, body)
            else:
                loop = asyncio.get_running_loop()
                checked = await loop.run_in_executor(self._threads, self._check, signal, encoding, compression, body)
            await self._journal.append(
                Received(
                    sequence=0,
                    received_at=datetime.now(UTC),
                    signal=signal,
                    encoding=encoding,
                    compression=compression,
                    body=body,
                    api_key_id=api_key_id,
                )
            )
        except Refused as refused:
            self.refused(refused)
            refused.counted = True
            raise
        finally:
            self._in_flight -= len(body)
        tally = self.tally
        tally.accepted[signal] = tally.accepted.get(signal, 0) + 1
        tally.accepted_bytes[signal] = tally.accepted_bytes.get(signal, 0) + len(body)
        if checked.rejected:
            tally.rejected[signal] = tally.rejected.get(signal, 0) + checked.rejected
        return response(signal, checked)

    def refused(self, refused: Refused) -> None:
        """Count a refusal that a transport made by itself."""
        name = type(refused).__name__
        self.tally.refused[name] = self.tally.refused.get(name, 0) + 1

    def close(self) -> None:
        """Refuse everything from now on; what is being checked or journalled goes on."""
        self._open = False

    def stop(self) -> None:
        """Give the threads back."""
        self._threads.shutdown()

    def _check(self, signal: Signal, encoding: Encoding, compression: Compression, body: bytes) -> Checked:
        plain = inflated(body, self.body_limit) if compression == "gzip" else body
        if crowded(encoding, plain):
            raise TooLarge(f"the {len(plain)} bytes hold too many {signal}: send them in smaller requests")
        try:
            return check(signal, encoding, plain)
        except MalformedOtlp as error:
            raise Malformed(str(error)) from error


def response(signal: Signal, checked: Checked) -> Message:
    """OTLP's response; `partial_success` is left unset when nothing was rejected, as the specification asks."""
    rejected, reason = checked.rejected, checked.reason
    if signal == "traces":
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=reason) if rejected else None
        )
    if signal == "logs":
        return ExportLogsServiceResponse(
            partial_success=ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=reason) if rejected else None
        )
    return ExportMetricsServiceResponse(
        partial_success=ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=reason) if rejected else None
    )
