"""Any bytes give an answer or a refusal, and never anything else; and what was accepted can be decoded or is named."""

import asyncio
import gzip
import os
import random
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanledger.collector.decode import decode
from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.http import HttpReceiver
from spanledger.collector.receive.http_connection import HttpBounds
from spanledger.collector.receive.inflate import inflated
from spanledger.collector.receive.refused import Malformed, Refused, TooLarge
from spanledger.collector.received import Received
from spanledger.collector.recognise import recognise
from tests.collector.made import calls
from tests.collector.test_bounds import Kept

SIGNALS = st.sampled_from(["traces", "logs", "metrics"])
ENCODINGS = st.sampled_from(["protobuf", "json"])
COMPRESSIONS = st.sampled_from(["identity", "gzip"])


def mutated(random_: random.Random, body: bytes) -> bytes:
    """The body with some bytes changed, cut out or repeated."""
    found = bytearray(body)
    for _ in range(random_.randint(1, 8)):
        at = random_.randrange(len(found) or 1)
        match random_.randrange(4):
            case 0:
                found[at : at + 1] = random_.randbytes(1)
            case 1:
                del found[at : at + random_.randint(1, 40)]
            case 2:
                found[at:at] = found[at : at + random_.randint(1, 40)]
            case _:
                found[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(found)


def offered(kept: Kept, signal: str, encoding: str, compression: str, body: bytes) -> None:
    """Offer a body; what is accepted must go through decode and recognise without an error."""

    reasons: list[str] = []

    async def offer() -> None:
        accept = Accept(kept)
        try:
            await accept.accept(signal, encoding, compression, body)  # type: ignore[arg-type]
        except Refused as refused:
            reasons.append(str(refused))
        finally:
            accept.stop()

    before = len(kept.bodies)
    asyncio.run(offer())
    assert all(reasons)
    taken: list[Received] = kept.bodies[before:]
    if taken:
        telemetry = decode(taken)
        recognise(telemetry)


@given(SIGNALS, ENCODINGS, COMPRESSIONS, st.binary(max_size=300))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_answered_or_refused(signal: str, encoding: str, compression: str, body: bytes) -> None:
    offered(Kept(), signal, encoding, compression, gzip.compress(body) if compression == "gzip" and body[:1] < b"\x80" else body)


@given(st.integers(min_value=0, max_value=2**32))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_request_is_answered_or_refused(seed: int) -> None:
    random_ = random.Random(seed)
    offered(Kept(), random_.choice(["traces", "logs", "metrics"]), "protobuf", "identity", mutated(random_, calls(3)[0]))


@given(st.binary(max_size=2000), st.integers(min_value=0, max_value=3000))
@settings(max_examples=200, deadline=None)
def test_gzip_comes_back_whole_or_is_refused_at_the_limit(body: bytes, limit: int) -> None:
    cut = len(body) // 2
    packed = gzip.compress(body[:cut]) + gzip.compress(body[cut:])
    if len(body) <= limit:
        assert inflated(packed, limit) == body
    else:
        with pytest.raises(TooLarge):
            inflated(packed, limit)
    with pytest.raises((Malformed, TooLarge)):
        inflated(packed[:-1], limit)


def hammered(inputs: int, seed: int) -> None:
    """Throw bytes at a listener on a real socket; it must answer or close, and serve a good request afterwards."""

    async def run() -> None:
        kept = Kept()
        accept = Accept(kept)
        receiver = HttpReceiver(
            accept, host="127.0.0.1", port=0, bounds=HttpBounds(header_seconds=2, body_seconds=2, idle_seconds=2)
        )
        await receiver.start()
        await asyncio.to_thread(_hammer, receiver.port, inputs, seed)
        await receiver.stop(5)
        assert receiver._shared.held == 0
        assert not receiver._shared.connections
        accept.stop()

    asyncio.run(run())


def _hammer(port: int, inputs: int, seed: int) -> None:
    random_ = random.Random(seed)
    body = calls(2)[0]
    head = (
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    for _ in range(inputs):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            sent = mutated(random_, head + body) if random_.random() < 0.8 else os.urandom(random_.randint(1, 500))
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            began = time.monotonic()
            try:
                while connection.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            assert time.monotonic() - began < 15
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_listener_answers_or_closes_whatever_is_thrown_at_it() -> None:
    hammered(300, seed=7)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_inputs_do_not_hang_or_grow_the_listener() -> None:
    for round_ in range(100):
        hammered(2_000, seed=round_)
        random_ = random.Random(round_)
        kept = Kept()
        for _ in range(8_000):
            offered(kept, random_.choice(["traces", "logs", "metrics"]), "protobuf", "identity", mutated(random_, calls(3)[0]))
            kept.bodies.clear()
