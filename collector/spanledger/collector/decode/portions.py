"""How many bodies are decoded at once: by what they hold, not by what was sent, since of gzip a kilobyte becomes a megabyte.

A span of 330 bytes takes ten times its bytes while it is decoded; of the smallest bodies and records there are, each takes 140
bytes and more whatever it holds (measured: 50 kB of gzip, decoded at once, took 3.4 GB).
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from spanledger.collector.decode.envelope import unpacked
from spanledger.collector.received import Received

#: So many bodies are decoded at once at most.
MOST_BODIES = 16_000
#: An object or list of JSON takes so many bytes more than those that it is written with.
JSON_BYTES = 128


def portions(bodies: Iterable[Received], enough_bytes: int) -> Iterator[list[Received]]:
    """The bodies in their order without their compression, about so many bytes of memory's at a time; each is unpacked when its
    turn comes. What is not the gzip it says it is, decoding will tell."""
    some: list[Received] = []
    size = 0
    for body in bodies:
        if body.compression != "identity":
            with suppress(ValueError):
                body = replace(body, body=unpacked(body), compression="identity")
        weight = weight_of(body)
        if some and size + weight > enough_bytes:
            yield some
            some, size = [], 0
        some.append(body)
        size += weight
        if size >= enough_bytes or len(some) >= MOST_BODIES:
            yield some
            some, size = [], 0
    if some:
        yield some


def weight_of(body: Received) -> int:
    """Bytes of a body without compression, with what JSON takes beyond them."""
    plain = body.body
    return len(plain) + (JSON_BYTES * (plain.count(b"{") + plain.count(b"[")) if body.encoding == "json" else 0)
