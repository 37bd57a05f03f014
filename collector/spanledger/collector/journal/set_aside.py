"""What an operator does with bodies that were set aside; works while the collector runs and while it does not."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.journal.file import COLUMNS, JournalError, received_of
from spanledger.collector.journal.segments import EPOCH
from spanledger.collector.receive.inflate import inflated
from spanledger.collector.receive.refused import Refused
from spanledger.collector.received import BODY_LIMIT, Received, Signal

_REQUESTS: dict[Signal, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A body that could not be turned into entries. `again`: it is to be tried again, at the latest at the next start."""

    received: Received
    size: int
    reason: str
    again: bool
    at: datetime


def set_aside(data: Path) -> list[SetAside]:
    """All of them, oldest first; without their bytes."""
    with _opened(data) as connection:
        rows = connection.execute(
            "select sequence, received_at, signal, encoding, compression, api_key_id, 0, x'', length(body), reason, again, at "
            "from set_aside order by sequence"
        ).fetchall()
    return [
        SetAside(
            received=received_of(row[:8])[0],
            size=row[8],
            reason=row[9],
            again=bool(row[10]),
            at=EPOCH + timedelta(microseconds=row[11]),
        )
        for row in rows
    ]


def body_of(data: Path, sequence: int) -> Received:
    """One of them with its bytes; raises `LookupError`."""
    with _opened(data) as connection:
        row = connection.execute(f"select sequence, {COLUMNS} from set_aside where sequence = ?", (sequence,)).fetchone()  # noqa: S608
    if row is None:
        raise LookupError(f"no body {sequence} is set aside")
    return received_of(row)[0]


def readable(received: Received) -> str:
    """A body as JSON when it can be read as OTLP at all, else the beginning of its bytes in hex."""
    try:
        plain = inflated(received.body, BODY_LIMIT) if received.compression == "gzip" else received.body
        if received.encoding == "json":
            return plain.decode("utf-8", "replace")
        return str(MessageToJson(_REQUESTS[received.signal].FromString(plain), ensure_ascii=False))
    except (Refused, DecodeError):
        return received.body[:512].hex(" ", 2)


def retry(data: Path, sequences: Sequence[int] = ()) -> int:
    """Have bodies tried again (none named: all); a running collector does so within seconds. Gives how many."""
    return _change(data, "update set_aside set again = 2", sequences)


def drop(data: Path, sequences: Sequence[int] = ()) -> int:
    """Forget bodies for good (none named: all). Gives how many."""
    return _change(data, "delete from set_aside", sequences)


def _change(data: Path, statement: str, sequences: Sequence[int]) -> int:
    with _opened(data) as connection:
        if not sequences:
            return connection.execute(statement).rowcount
        return sum(connection.execute(f"{statement} where sequence = ?", (one,)).rowcount for one in sequences)


@contextmanager
def _opened(data: Path) -> Generator[sqlite3.Connection]:
    """The journal of a data folder, committed at the end; raises `JournalError` when there is none."""
    path = data / "journal.sqlite"
    if not path.exists():
        raise JournalError(f"there is no journal in {data}")
    connection = sqlite3.connect(path, timeout=30)
    try:
        with connection:
            yield connection
    finally:
        connection.close()
