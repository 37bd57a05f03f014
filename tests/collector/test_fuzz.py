"""Any bytes give an answer or a refusal, and never anything else; and what was accepted can be decoded or is named."""

import asyncio
import gzip
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanledger.collector.decode.decode import decode
from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.inflate import inflated
from spanledger.collector.receive.refused import Malformed, Refused, TooLarge
from spanledger.collector.received import Received
from spanledger.collector.recognise.recognise import recognise
from tests.collector.fuzzing import Inputs, mutated, over_grpc, over_http, read, slice_
from tests.collector.made import calls
from tests.collector.test_bounds import Kept

SIGNALS = st.sampled_from(["traces", "logs", "metrics"])
ENCODINGS = st.sampled_from(["protobuf", "json"])
COMPRESSIONS = st.sampled_from(["identity", "gzip"])


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


def test_listeners_answer_or_close_whatever_is_thrown_at_them() -> None:
    inputs = Inputs(7)
    asyncio.run(over_http(inputs, 300))
    asyncio.run(over_grpc(inputs, 300))


def test_what_is_accepted_of_damaged_samples_is_decoded() -> None:
    assert asyncio.run(read(Inputs(7), 1_000)) > 30


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_inputs_neither_stop_nor_grow_receivers_and_decoder() -> None:
    for seed in range(10):
        slice_(100_000, seed)
