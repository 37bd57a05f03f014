"""Tell a request that is made of next to nothing, very often: memory would hold a hundred times its bytes, and gzip sends
them in a thousandth.

An empty record takes two bytes of a body, 70 as protobuf reads it and as many again as it is decoded; a braces-only JSON record
takes three, and 64 (measured: 16 MB of them, 16 kB as gzip, took 1.7 GB).
"""

from spanledger.collector.decode.envelope import field
from spanledger.collector.received import Encoding

#: Of a body up to here memory bears whatever is in it.
PLAIN_BYTES = 1024 * 1024
#: Resources, scopes and records of one request at most; the largest that one would send holds 100,000 spans of 700 bytes.
MOST = 250_000
#: And objects and lists of JSON, of which a span with 18 attributes takes some 60.
MOST_JSON = 8_000_000

#: A resource or record of so many bytes is looked into: its attributes and events count as well.
_LARGE = 64 * 1024
_RECORD = 3


def crowded(encoding: Encoding, body: bytes) -> bool:
    """Whether an uncompressed body holds more than could be meant. A body that is no OTLP is left to whoever reads it."""
    if len(body) <= PLAIN_BYTES:
        return False
    if encoding == "json":
        return body.count(b"{") + body.count(b"[") > MOST_JSON
    left = MOST
    inside = [(0, len(body), 0)]  # requests hold resources, those scopes, those records
    try:
        while inside:
            at, end, depth = inside.pop()
            while at < end:
                tag, begin, at = field(body, at, end)
                left -= 1
                if left < 0:
                    return True
                if depth < _RECORD and tag in (0x0A, 0x12):
                    holds = tag == (0x0A if depth == 0 else 0x12) and depth < _RECORD - 1
                    if holds or (depth > 0 and at - begin > _LARGE):
                        inside.append((begin, at, depth + 1 if holds else _RECORD))
    except IndexError:
        return False
    return False
