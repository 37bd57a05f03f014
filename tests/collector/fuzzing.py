"""Throw damaged telemetry at both receivers, at the decoder and at what reads it: a slice of a million inputs at a time.

    python -m tests.collector.fuzzing [--inputs 100000] [--seed 1]

Seven in ten go through acceptance, decoding and recognising in batches, fifteen in a hundred to the HTTP listener and as many
to the gRPC listener, over sockets. Everything must be answered or refused with a reason, whatever was accepted must decode,
and memory must not grow. Prints one line of JSON.
"""

import argparse
import asyncio
import gzip
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from spanledger.collector.decode.decode import decode
from spanledger.collector.pass_through.over_grpc import _protobuf
from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.grpc import GrpcReceiver
from spanledger.collector.receive.http import HttpReceiver
from spanledger.collector.receive.refused import Refused
from spanledger.collector.received import Received
from spanledger.collector.recognise.recognise import recognise
from tests.collector.made import calls
from tests.collector.test_bounds import Kept
from tests.dialects.bodies import body

SAMPLES = Path(__file__).parents[1] / "dialects" / "samples"
_SERVICES = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_BATCH = 150
#: What a second half of the inputs may add to the memory that the first has taken.
GROWTH_BYTES = 120 * 1024 * 1024


def mutated(chance: random.Random, body: bytes) -> bytes:
    """The body with some bytes changed, cut out or repeated."""
    found = bytearray(body)
    for _ in range(min(chance.randint(1, 8), chance.randint(1, 8))):
        at = chance.randrange(len(found) or 1)
        match chance.randrange(8):
            case 0 | 1 | 2 | 3 | 4:  # of the right length, it may be accepted
                found[at : at + 1] = chance.randbytes(1)
            case 5:
                del found[at : at + chance.randint(1, 40)]
            case 6:
                found[at:at] = found[at : at + chance.randint(1, 40)]
            case _:
                found[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(found)


class Inputs:
    """Damaged requests made of the samples of all dialects, in both encodings; some as they are, some compressed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._whole: list[tuple[str, str, bytes]] = [("traces", "protobuf", calls(3)[0])]
        for path in sorted(SAMPLES.glob("*.json")):
            signal = path.name.split(".")[-2]
            if signal in _SERVICES and path.stat().st_size < 40_000:
                self._whole += [
                    (signal, "json", json.dumps(json.loads(path.read_text())).encode()),
                    (signal, "protobuf", _protobuf(body(path.name))),
                ]

    def __call__(self, encoding: str | None = None) -> tuple[str, str, str, bytes]:
        """Signal, encoding, compression, body."""
        while True:
            signal, found, sent = self.chance.choice(self._whole)
            if encoding in (None, found):
                break
        kind = self.chance.random()
        if kind < 0.05:
            sent = self.chance.randbytes(self.chance.randint(0, 300))
        elif kind < 0.95:
            sent = mutated(self.chance, sent)
        if self.chance.random() < 0.2:
            packed = gzip.compress(sent, 1)
            return signal, found, "gzip", packed if self.chance.random() < 0.7 else mutated(self.chance, packed)
        return signal, found, "identity", sent


async def read(inputs: Inputs, count: int) -> int:
    """Accept so many, and decode and recognise what was accepted; gives how many that were."""
    kept, accepted = Kept(), 0
    accept = Accept(kept)
    try:
        for number in range(1, count + 1):
            try:
                await accept.accept(*inputs())  # type: ignore[arg-type]
            except Refused as refused:
                assert str(refused)  # noqa: PT017
            if len(kept.bodies) >= _BATCH or number == count:
                _through(kept.bodies)
                accepted += len(kept.bodies)
                kept.bodies.clear()
    finally:
        accept.stop()
    return accepted


def _through(bodies: list[Received]) -> None:
    try:
        recognise(decode(bodies))
    except Exception:
        if len(bodies) == 1:
            Path("/tmp/fuzz-failure.bin").write_bytes(bodies[0].body)
            print(bodies[0].signal, bodies[0].encoding, bodies[0].compression, flush=True)
            raise
        for one in bodies:
            _through([one])
        raise


async def over_http(inputs: Inputs, count: int) -> None:
    """Bytes on the HTTP listener's socket, then a good request that must be answered."""
    accept = Accept(Kept())
    receiver = HttpReceiver(accept, host="127.0.0.1", port=0)
    await receiver.start()
    await asyncio.to_thread(_hammer_http, receiver.port, inputs, count)
    await receiver.stop(5)
    assert receiver._shared.held == 0
    assert not receiver._shared.connections
    accept.stop()


def _hammer_http(port: int, inputs: Inputs, count: int) -> None:
    good = _request("traces", "protobuf", "identity", calls(2)[0])
    for _ in range(count):
        kind = inputs.chance.random()
        sent = os.urandom(inputs.chance.randint(1, 500)) if kind < 0.1 else _request(*inputs())
        _answered(port, mutated(inputs.chance, sent) if kind < 0.6 else sent)
    assert _answered(port, good).startswith(b"HTTP/1.1 200")


def _answered(port: int, sent: bytes) -> bytes:
    began, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                answer += more
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert time.monotonic() - began < 30
    return answer


def _request(signal: str, encoding: str, compression: str, body: bytes) -> bytes:
    kind = "json" if encoding == "json" else "x-protobuf"
    packed = "" if compression == "identity" else f"Content-Encoding: {compression}\r\n"
    head = f"POST /v1/{signal} HTTP/1.1\r\nHost: x\r\nContent-Type: application/{kind}\r\n{packed}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def over_grpc(inputs: Inputs, count: int) -> None:
    """Messages on a channel, every tenth time bytes on a bare connection, then a good request."""
    accept = Accept(Kept())
    receiver = GrpcReceiver(accept, host="127.0.0.1", port=0)
    await receiver.start()
    await asyncio.to_thread(_hammer_grpc, receiver.port, inputs, count)
    await receiver.stop(5)
    accept.stop()


def _hammer_grpc(port: int, inputs: Inputs, count: int) -> None:
    made: Iterator[tuple[str, str, str, bytes]] = (inputs("protobuf") for _ in range(count))
    channel: Any = grpc.insecure_channel(f"127.0.0.1:{port}")  # type: ignore[no-untyped-call]
    with channel, ThreadPoolExecutor(8) as threads:
        ways = {signal: channel.unary_unary(method) for signal, method in _SERVICES.items()}

        def send(made: tuple[str, str, str, bytes]) -> None:
            signal, _, _, body = made
            try:
                ways[signal](body, timeout=60)
            except grpc.RpcError as failed:
                error: Any = failed
                assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED), error
                assert error.details()

        for number, one in enumerate(made):
            if number % 10 == 0:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as bare:
                    bare.sendall(mutated(inputs.chance, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + one[3][:400]))
            else:
                threads.submit(send, one).result(60) if number % 50 == 0 else threads.submit(send, one)
        threads.submit(ways["traces"], calls(2)[0], timeout=60).result(60)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slice_(inputs: int, seed: int) -> dict[str, int]:
    """Throw so many inputs, half by half; raises `AssertionError` when one is not answered, fails further on, or memory grows."""
    made, sizes, accepted = Inputs(seed), [], 0
    for _ in range(2):
        accepted += asyncio.run(read(made, inputs * 7 // 20))
        asyncio.run(over_http(made, inputs * 3 // 40))
        asyncio.run(over_grpc(made, inputs * 3 // 40))
        sizes.append(resident())
    assert sizes[1] - sizes[0] < GROWTH_BYTES, sizes
    return {
        "inputs": inputs,
        "seed": seed,
        "decoded": accepted,
        "resident_mib": sizes[1] >> 20,
        "grown_mib": sizes[1] - sizes[0] >> 20,
    }


def main() -> None:
    """One slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(json.dumps(slice_(args.inputs, args.seed)))


if __name__ == "__main__":
    main()
