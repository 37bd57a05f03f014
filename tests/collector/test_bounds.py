"""What a sender may hold, and for how long; and who may send at all."""

import asyncio
import gzip
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from grpc import aio

from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.connections import within_files
from spanledger.collector.receive.grpc import GrpcReceiver
from spanledger.collector.receive.http import HttpReceiver
from spanledger.collector.receive.http_connection import HttpBounds
from spanledger.collector.receive.refused import Busy, Malformed, TooLarge
from spanledger.collector.receive.tls import TlsFiles, TlsUnusable
from spanledger.collector.received import Received
from tests.collector.made import calls
from tests.collector.test_receive import EXPORT, PROTOBUF


class Kept:
    """A journal that keeps bodies in memory, or waits, or refuses."""

    def __init__(self, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self.bodies: list[Received] = []
        self._before = before

    async def append(self, received: Received) -> None:
        if self._before is not None:
            await self._before()
        self.bodies.append(received)


async def listening(
    test: Callable[[HttpReceiver, Kept], Awaitable[None]], bounds: HttpBounds, kept: Kept | None = None, **accepting: Any
) -> None:
    kept = kept or Kept()
    accept = Accept(kept, **accepting)
    receiver = HttpReceiver(accept, host="127.0.0.1", port=0, bounds=bounds)
    await receiver.start()
    try:
        await test(receiver, kept)
    finally:
        await receiver.stop(1)
        accept.stop()


async def until(true: Callable[[], bool]) -> None:
    """Wait for it, for as long as a busy machine may need."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


def test_connections_that_send_one_byte_are_cut_and_others_are_served() -> None:
    async def slow_one(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"P")
        return reader, writer

    async def test(receiver: HttpReceiver, kept: Kept) -> None:
        slow = [await slow_one(receiver.port) for _ in range(200)]
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(f"http://127.0.0.1:{receiver.port}/v1/traces", content=calls()[0], headers=PROTOBUF)
            assert answer.status_code == 200
        for reader, writer in slow:
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        assert len(kept.bodies) == 1

    # Time enough for the one that is not slow, also where the machine stands still for a moment.
    asyncio.run(listening(test, HttpBounds(header_seconds=2, idle_seconds=2)))


def test_a_body_that_never_ends_is_cut() -> None:
    async def test(receiver: HttpReceiver, kept: Kept) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 10\r\n\r\nab"
        )
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        assert kept.bodies == []

    asyncio.run(listening(test, HttpBounds(body_seconds=0.3)))


def test_more_connections_than_allowed_are_told_to_come_back() -> None:
    async def test(receiver: HttpReceiver, kept: Kept) -> None:
        first = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After:" in answer
        for _, open_writer in [*first, (reader, writer)]:
            open_writer.close()

    asyncio.run(listening(test, HttpBounds(connections=3)))


def test_bytes_held_for_all_senders_have_one_bound() -> None:
    async def test(receiver: HttpReceiver, kept: Kept) -> None:
        head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 60000\r\n\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(head + bytes(50_000))
        await until(lambda: receiver._shared.held == 50_000)
        async with httpx.AsyncClient(timeout=60) as client:
            url = f"http://127.0.0.1:{receiver.port}/v1/traces"
            assert (await client.post(url, content=bytes(60_000), headers=PROTOBUF)).status_code == 503
            writer.close()
            await until(lambda: receiver._shared.held == 0)
            assert (await client.post(url, content=calls()[0], headers=PROTOBUF)).status_code == 200

    asyncio.run(listening(test, HttpBounds(held_bytes=100_000)))


def test_a_full_journal_is_503_with_retry_after_and_resource_exhausted_with_retry_info() -> None:
    async def full() -> None:
        raise Busy("the journal is full", retry_after_seconds=7)

    async def test(receiver: HttpReceiver, kept: Kept) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(f"http://127.0.0.1:{receiver.port}/v1/traces", content=calls()[0], headers=PROTOBUF)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        over_grpc = GrpcReceiver(receiver._shared.accept, host="127.0.0.1", port=0)
        await over_grpc.start()
        async with aio.insecure_channel(f"127.0.0.1:{over_grpc.port}") as channel:
            export: Any = channel.unary_unary(EXPORT)
            with pytest.raises(aio.AioRpcError) as refused:
                await export(calls()[0])
        await over_grpc.stop(0)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        (details,) = [value for key, value in refused.value.trailing_metadata() or () if key == "grpc-status-details-bin"]
        assert b"google.rpc.RetryInfo" in details

    asyncio.run(listening(test, HttpBounds(), Kept(full)))


def nested(*numbers: int, inside: bytes) -> bytes:
    """Messages around what is inside, the innermost field last, each field given by its first byte."""
    for number in reversed(numbers):
        size, length = bytearray(), len(inside)
        while length > 127:
            size.append(length & 127 | 128)
            length >>= 7
        inside = bytes([number, *size, length]) + inside
    return inside


OFTEN = 600_000
CROWDED = {
    "records": nested(0x0A, 0x12, inside=b"\x12\x00" * OFTEN),
    "scopes": nested(0x0A, inside=b"\x12\x00" * OFTEN),
    "resources": b"\x0a\x00" * OFTEN,
    "attributes": nested(0x0A, 0x12, 0x12, inside=b"\x4a\x00" * OFTEN),
    "attributes of a resource": nested(0x0A, 0x0A, inside=b"\x0a\x00" * OFTEN),
    "members of gzip": gzip.compress(b"") * 2000,
}


@pytest.mark.parametrize("of", CROWDED)
def test_a_body_that_is_small_and_would_fill_memory_is_refused(of: str) -> None:
    async def test() -> None:
        accept = Accept(kept := Kept())
        packed = CROWDED[of] if of == "members of gzip" else gzip.compress(CROWDED[of])
        with pytest.raises((TooLarge, Malformed), match=r"too many traces|members"):
            await accept.accept("traces", "protobuf", "gzip", packed)
        accept.stop()
        assert kept.bodies == []

    asyncio.run(test())


def test_a_large_body_of_many_records_is_taken() -> None:
    async def test() -> None:
        accept = Accept(kept := Kept())
        await accept.accept("traces", "protobuf", "identity", calls(4000)[0])
        with pytest.raises(TooLarge, match="too many logs"):
            await accept.accept("logs", "json", "gzip", gzip.compress(b'{"resourceLogs":[' + b"{}," * 8_000_000 + b"{}]}", 1))
        accept.stop()
        assert len(kept.bodies) == 1

    asyncio.run(test())


def test_what_is_under_way_is_answered_when_the_listener_stops() -> None:
    under_way, may_end = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        under_way.set()
        await may_end.wait()

    async def test(receiver: HttpReceiver, kept: Kept) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            url = f"http://127.0.0.1:{receiver.port}/v1/traces"
            sending = asyncio.create_task(client.post(url, content=calls()[0], headers=PROTOBUF))
            await under_way.wait()
            stopping = asyncio.create_task(receiver.stop(60))
            await asyncio.sleep(0)
            with pytest.raises(httpx.ConnectError):
                await client.post(url, content=b"", headers=PROTOBUF)
            assert not sending.done()
            may_end.set()
            assert (await sending).status_code == 200
            await stopping

    asyncio.run(listening(test, HttpBounds(), Kept(slowly)))


def test_a_request_of_which_only_the_head_is_there_when_the_listener_stops_is_waited_for() -> None:
    async def test(receiver: HttpReceiver, kept: Kept) -> None:
        body, _ = calls()
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        head = (
            f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF['Content-Type']}\r\ncontent-length: {len(body)}\r\n"
        )
        writer.write(head.encode() + b"expect: 100-continue\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        stopping = asyncio.create_task(receiver.stop(60))
        await asyncio.sleep(0)
        writer.write(body)
        await reader.readline()
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await stopping
        writer.close()

    asyncio.run(listening(test, HttpBounds(), Kept()))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[TlsFiles, Path, Path, trustme.CA]:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    server = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    server.private_key_pem.write_to_path(folder / "server.key")
    for pem in server.cert_chain_pems:
        pem.write_to_path(folder / "server.pem", append=True)
    client = ca.issue_cert("sender@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    files = TlsFiles(cert=folder / "server.pem", key=folder / "server.key", client_ca=folder / "ca.pem")
    return files, folder / "ca.pem", folder / "client.pem", ca


def test_over_tls_only_senders_with_a_certificate_of_the_ca_are_served(
    certificates: tuple[TlsFiles, Path, Path, trustme.CA],
) -> None:
    files, ca, client_pem, _ = certificates

    async def test() -> None:
        kept = Kept()
        accept = Accept(kept)
        over_http = HttpReceiver(accept, host="127.0.0.1", port=0, tls=files)
        over_grpc = GrpcReceiver(accept, host="127.0.0.1", port=0, tls=files)
        await over_http.start()
        await over_grpc.start()
        url = f"https://127.0.0.1:{over_http.port}/v1/traces"
        known = ssl.create_default_context(cafile=str(ca))
        known.load_cert_chain(client_pem)
        async with httpx.AsyncClient(verify=known, timeout=60) as client:
            assert (await client.post(url, content=calls()[0], headers=PROTOBUF)).status_code == 200
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(ca)), timeout=60) as client:
                await client.post(url, content=calls()[0], headers=PROTOBUF)
        pem = client_pem.read_bytes()
        credentials = grpc.ssl_channel_credentials(ca.read_bytes(), pem, pem)  # type: ignore[no-untyped-call]
        async with aio.secure_channel(f"localhost:{over_grpc.port}", credentials) as channel:
            export: Any = channel.unary_unary(EXPORT)
            await export(calls()[0])
        anonymous = grpc.ssl_channel_credentials(ca.read_bytes())  # type: ignore[no-untyped-call]
        async with aio.secure_channel(f"localhost:{over_grpc.port}", anonymous) as channel:
            refused: Any = channel.unary_unary(EXPORT)
            with pytest.raises(aio.AioRpcError, match="UNAVAILABLE"):
                await refused(calls()[0])
        await over_grpc.stop(0)
        await over_http.stop(0)
        accept.stop()
        assert len(kept.bodies) == 2

    asyncio.run(test())


def test_a_file_of_tls_that_cannot_be_used_is_named(
    tmp_path: Path, certificates: tuple[TlsFiles, Path, Path, trustme.CA]
) -> None:
    good, *_ = certificates
    nothing, locked = tmp_path / "x.pem", tmp_path / "locked.pem"
    nothing.write_text("nothing")
    key = load_pem_private_key(good.key.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    for files, said in (
        (TlsFiles(cert=nothing, key=nothing), "cert_file: .*x.pem is no certificate"),
        (TlsFiles(cert=tmp_path / "y.pem", key=nothing), "cert_file: .*y.pem cannot be read: No such file"),
        (TlsFiles(cert=good.cert, key=tmp_path), "key_file: .* cannot be read: Is a directory"),
        (TlsFiles(cert=good.cert, key=locked), "key_file: .*locked.pem has a pass phrase"),
        (TlsFiles(cert=good.cert, key=good.key, client_ca=nothing), "client_ca_file: .*x.pem holds no certificate"),
    ):
        with pytest.raises(TlsUnusable, match=f"^{said}"):
            files.for_grpc()


def test_connections_leave_files_to_open_for_the_ledger(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1024))
    assert (within_files(500), caplog.messages) == (500, [])
    assert within_files(4096) == 768
    assert "may open only 1024 files" in caplog.text


def test_a_port_in_use_is_an_error_for_both_transports() -> None:
    async def test(port: int) -> None:
        accept = Accept(Kept())
        with pytest.raises(OSError):
            await HttpReceiver(accept, host="127.0.0.1", port=port).start()
        with pytest.raises(OSError):
            await GrpcReceiver(accept, host="127.0.0.1", port=port).start()
        accept.stop()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        asyncio.run(test(taken.getsockname()[1]))
