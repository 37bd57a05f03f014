"""Undo gzip without ever holding more than the limit: a small body can claim to be gigabytes."""

import zlib

from spanledger.collector.receive.refused import Malformed, TooLarge

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's window bits for "gzip header and trailer"
#: A gzip body may have several members, one after the other; each empty one takes 20 bytes.
_MOST_MEMBERS = 1024
#: What follows a member is copied; so of all but the first, zlib is given so many bytes at once.
_SLICE_BYTES = 64 * 1024


def inflated(body: bytes, limit: int) -> bytes:
    """The body without its gzip; stops at `limit` bytes with `TooLarge`. Raises `Malformed` for what is no gzip."""
    parts: list[bytes] = []
    room, at, members = limit, 0, 0
    whole = memoryview(body)
    while at < len(body):
        stream = zlib.decompressobj(_GZIP)
        members += 1
        if members > _MOST_MEMBERS:
            raise Malformed(f"the gzip body has more than {_MOST_MEMBERS} members")
        while not stream.eof:
            given = whole[at:] if members == 1 else whole[at : at + _SLICE_BYTES]
            if not given:
                raise Malformed("the gzip body ends too early")
            try:
                part = stream.decompress(given, room + 1)
            except zlib.error as error:
                raise Malformed(f"the body is not valid gzip: {error}") from error
            room -= len(part)
            if room < 0 or stream.unconsumed_tail:
                raise TooLarge(f"the body is larger than {limit} bytes when decompressed")
            parts.append(part)
            at += len(given) - len(stream.unused_data)
    return parts[0] if len(parts) == 1 else b"".join(parts)
