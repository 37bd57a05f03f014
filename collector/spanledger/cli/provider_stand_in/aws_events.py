"""AWS's binary framing of events: lengths, headers, payload, and two checksums that clients verify."""

import json
from binascii import crc32
from struct import pack


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message; every header is a string."""
    block = b"".join(_header(name, value) for name, value in headers.items())
    prelude = pack(">II", 16 + len(block) + len(payload), len(block))
    prelude += pack(">I", crc32(prelude))
    whole = prelude + block + payload
    return whole + pack(">I", crc32(whole))


def _header(name: str, value: str) -> bytes:
    said = value.encode()
    return pack(">B", len(name)) + name.encode() + b"\x07" + pack(">H", len(said)) + said


def event(kind: str, document: object) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(document).encode())


def exception(kind: str, document: object) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(document).encode())
