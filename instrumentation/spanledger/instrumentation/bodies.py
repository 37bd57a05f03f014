"""Reads what an answer says from its bytes, as they pass on their way to an application that wants them raw."""

import json
import sys
import zlib
from typing import Any

from spanledger.instrumentation.answer import Answer, Operation
from spanledger.instrumentation.aws_events import MessageReader

#: A JSON answer larger than this is not read for its usage.
LARGEST = 32 * 1024 * 1024


class EventReader:
    """Server-sent events, fed in pieces of any size."""

    def __init__(self, operation: Operation, answer: Answer) -> None:
        self._read = operation.read_event
        self._answer = answer
        self._rest = b""
        self._data: list[bytes] = []

    def __call__(self, piece: bytes) -> None:
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].lstrip())
            elif not line and self._data:
                data, self._data = b"\n".join(self._data), []
                if data != b"[DONE]":
                    event = json.loads(data)
                    if type(event) is dict:
                        self._read(event, self._answer)


class LineReader:
    """One JSON document a line, fed in pieces of any size."""

    def __init__(self, operation: Operation, answer: Answer) -> None:
        self._read = operation.read_event
        self._answer = answer
        self._rest = b""

    def __call__(self, piece: bytes) -> None:
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.strip():
                event = json.loads(line)
                if type(event) is dict:
                    self._read(event, self._answer)


class DocumentReader:
    """One JSON document, fed in pieces; read as soon as it is whole."""

    def __init__(self, operation: Operation, answer: Answer, length: int | None) -> None:
        self._read = operation.read
        self._answer = answer
        self._length = length
        self._pieces: list[bytes] = []
        self._size = 0

    def __call__(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > LARGEST:
            self._pieces.clear()
            return
        self._pieces.append(piece)
        # Where the length is not told, a document is whole when it ends with its brace and parses.
        if self._size == self._length or (self._length is None and piece.rstrip().endswith(b"}")):
            try:
                document = json.loads(b"".join(self._pieces))
            except ValueError:
                return
            self._read(document, self._answer)


class _Decoded:
    """Undoes the content encoding in front of a reader, with the HTTP client's own decoders."""

    def __init__(self, decoder: Any, reader: Any) -> None:
        self._decode = decoder.decode
        self._reader = reader

    def __call__(self, piece: bytes) -> None:
        decoded = self._decode(piece)
        if decoded:
            self._reader(decoded)


class _Gzip:
    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def decode(self, piece: bytes) -> bytes:
        return self._decoder.decompress(piece)


def reader_for(response: Any, operation: Operation, answer: Answer) -> Any:
    """What a response's bytes are to be fed to; None where its kind says nothing about usage."""
    headers = response.headers
    kind = headers.get("content-type", "")
    encoding = headers.get("content-encoding", "").strip().lower()
    reader: Any
    if "amazon.eventstream" in kind:
        reader = MessageReader(operation.read_event, answer)
    elif "event-stream" in kind:
        reader = EventReader(operation, answer)
    elif "stream+json" in kind or "ndjson" in kind:
        reader = LineReader(operation, answer)
    elif "json" in kind:
        length = headers.get("content-length", "") if not encoding else ""
        reader = DocumentReader(operation, answer, int(length) if length.isdigit() else None)
    else:
        return None
    if not encoding or encoding == "identity":
        return reader
    decoder = _decoder(response, encoding)
    return None if decoder is None else _Decoded(decoder, reader)


def _decoder(response: Any, encoding: str) -> Any:
    if encoding in ("gzip", "deflate"):
        return _Gzip()
    client = type(response).__module__.partition(".")[0]
    decoders = getattr(sys.modules.get(client + "._decoders"), "SUPPORTED_DECODERS", {})
    return decoders[encoding]() if encoding in decoders else None
