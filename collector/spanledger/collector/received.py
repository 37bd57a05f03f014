"""What the receivers hand to the journal, and the journal to the decoder: a body as it came, unparsed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Signal = Literal["traces", "logs", "metrics"]
Encoding = Literal["protobuf", "json"]
Compression = Literal["identity", "gzip"]

#: Largest body, as sent and when decompressed: whoever reads one later counts on that.
BODY_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One acknowledged OTLP export request.

    `sequence` is the journal's own number, rising without gaps being promised; 0 before it is journalled.
    `api_key_id` is the key it came in with, empty without keys.
    """

    sequence: int
    received_at: datetime
    signal: Signal
    encoding: Encoding
    compression: Compression
    body: bytes
    api_key_id: str = ""
