"""Takes the messages out of an AWS event stream: a binary framing around JSON, fed in pieces of any size.

A message is its length (4 bytes), the length of its headers (4), a checksum of these (4), headers, payload, a checksum of
all (4); numbers are big-endian. A header is a name (length in 1 byte), a kind (1 byte) and a value; only strings (kind 7,
length in 2 bytes) say anything here. Checksums are the client's to verify.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any

from spanledger.instrumentation.answer import Answer, Reader

_PRELUDE = Struct(">III")
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
LARGEST = 32 * 1024 * 1024


def event_of(headers: Mapping[str, Any], payload: bytes) -> dict[str, Any] | None:
    """One message as the SDK spells it: `{"metadata": {…}}`; an exception is `{"error": its name}`.

    What a model streams inside `chunk` is given as the JSON object it is, and as None where it is none.
    """
    if headers.get(":message-type") in ("exception", "error"):
        return {"error": str(headers.get(":exception-type") or headers.get(":error-code") or "error")}
    kind = headers.get(":event-type")
    if kind == "chunk":
        document = json.loads(base64.b64decode(json.loads(payload).get("bytes") or "") or "null")
        return {"chunk": document if isinstance(document, dict) else None}
    if kind in ("contentBlockDelta", "metadata", "messageStop"):
        return {kind: json.loads(payload)}
    return None


class MessageReader:
    """Feeds the events of an AWS event stream to a reader."""

    def __init__(self, read: Reader, answer: Answer) -> None:
        self._read = read
        self._answer = answer
        self._rest = b""

    def __call__(self, piece: bytes) -> None:
        for headers, payload in self._messages(piece):
            event = event_of(headers, payload)
            if event is not None:
                self._read(event, self._answer)

    def _messages(self, piece: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
        self._rest += piece
        while len(self._rest) >= 12:
            length, headers_length, _ = _PRELUDE.unpack_from(self._rest)
            if length > LARGEST or len(self._rest) < length:
                return
            message, self._rest = self._rest[:length], self._rest[length:]
            end = 12 + headers_length
            yield _headers(message[12:end]), message[end:-4]


def _headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    at = 0
    while at < len(block):
        name_end = at + 1 + block[at]
        name, kind = block[at + 1 : name_end].decode(), block[name_end]
        at = name_end + 1
        if kind in (6, 7):
            size = int.from_bytes(block[at : at + 2], "big")
            if kind == 7:
                headers[name] = block[at + 2 : at + 2 + size].decode()
            at += 2 + size
        else:
            at += _SIZES[kind]
    return headers
