"""Undo gzip without ever holding more than the limit: a small body can claim to be gigabytes."""

import zlib

from spanledger.collector.receive.refused import Malformed, TooLarge

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's window bits for "gzip header and trailer"


def inflated(body: bytes, limit: int) -> bytes:
    """The body without its gzip; stops at `limit` bytes with `TooLarge`. Raises `Malformed` for what is no gzip."""
    parts: list[bytes] = []
    room = limit
    rest = body
    while rest:  # a gzip body may have several members, one after the other
        stream = zlib.decompressobj(_GZIP)
        try:
            part = stream.decompress(rest, room + 1)
        except zlib.error as error:
            raise Malformed(f"the body is not valid gzip: {error}") from error
        room -= len(part)
        if room < 0 or stream.unconsumed_tail:
            raise TooLarge(f"the body is larger than {limit} bytes when decompressed")
        if not stream.eof:
            raise Malformed("the gzip body ends too early")
        parts.append(part)
        rest = stream.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)
