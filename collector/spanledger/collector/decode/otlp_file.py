"""Export requests read out of a file, however it was written: by an SDK, the OpenTelemetry Collector, curl or a browser."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Encoding, Received, Signal

_TOP = {"resourceSpans": "traces", "resourceLogs": "logs", "resourceMetrics": "metrics"}
_GZIP = b"\x1f\x8b"


def bodies_in(content: bytes, signal: Signal | None = None) -> list[Received]:
    """The export requests in a file, packed by gzip or not.

    OTLP/JSON, one object or several after each other, also in a list; or protobuf, one request or several that each follow
    their length in four bytes, as the Collector's file exporter writes them. `signal` says what protobuf holds; without it
    each is tried. Raises `ValueError` if it is none of these.
    """
    if content.startswith(_GZIP):
        import gzip

        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise ValueError(f"this begins as gzip does and cannot be unpacked: {error}") from error
    if not content.strip():
        raise ValueError("there is nothing in it")
    if content.lstrip()[:1] in (b"{", b"["):
        return [_received(orjson.dumps(request), found, "json") for request, found in _requests(content)]
    return [_told(request, signal) for request in _framed(content)]


def _framed(content: bytes) -> list[bytes]:
    """Requests that each follow their length, big-endian in four bytes; the whole, if it is not laid out so."""
    found, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if not size or at + 4 + size > len(content):
            return [content]
        found.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _told(content: bytes, signal: Signal | None) -> Received:
    """A request in protobuf with its signal: the one under which most of it can be read."""
    if signal is not None:
        return _received(content, signal, "protobuf")
    tried = [_received(content, guess, "protobuf") for guess in ("traces", "logs", "metrics")]
    read = [(decode([each]), each) for each in tried]
    good = [
        (telemetry.records.height, each)
        for telemetry, each in read
        if not telemetry.undecodable and not telemetry.rejected and telemetry.seen
    ]
    if not good:
        raise ValueError("this is neither OTLP/JSON nor an OTLP request in protobuf")
    return max(good, key=lambda each: each[0])[1]


def _requests(content: bytes) -> Iterator[tuple[dict[str, Any], Signal]]:
    for part in (each for listed in _objects(content) for each in (listed if isinstance(listed, list) else [listed])):
        found = [top for top in _TOP if isinstance(part, dict) and top in part]
        if not found:
            raise ValueError("an OTLP/JSON request holds resourceSpans, resourceLogs or resourceMetrics; this holds none of them")
        for top in found:
            yield {top: part[top]}, cast(Signal, _TOP[top])


def _objects(content: bytes) -> Iterator[Any]:
    """JSON values that follow each other, each in a line of its own or not."""
    try:
        yield orjson.loads(content)
        return
    except orjson.JSONDecodeError:
        pass
    import json

    text, at, decoder = content.decode(errors="replace"), 0, json.JSONDecoder()
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the JSON breaks off or is wrong: {error}") from error
        yield value
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1


def _received(body: bytes, signal: Signal, encoding: Encoding) -> Received:
    return Received(
        sequence=1, received_at=datetime.now(UTC), signal=signal, encoding=encoding, compression="identity", body=body
    )
