"""WebSocket, as much of it as a provider's realtime API needs: text messages, a close that is answered (RFC 6455)."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Any, Protocol

from spanledger.cli.provider_stand_in.wire import Request

_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class Conversation(Protocol):
    """What one connection says: at its begin, and to each message."""

    def greeting(self) -> Iterable[dict[str, Any]]: ...

    def answer(self, message: dict[str, Any]) -> Iterable[dict[str, Any]]: ...


Converse = Callable[[Request], Conversation | None]
"""Begins a conversation for the connections that are its own and gives None for the others."""


def is_upgrade(request: Request) -> bool:
    return request.headers.get("upgrade", "").lower() == "websocket"


async def hold(conversation: Conversation, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept the upgrade and converse until the client closes."""
    accept = b64encode(sha1((request.headers["sec-websocket-key"] + _KEY).encode(), usedforsecurity=False).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
        + accept
        + b"\r\n\r\n"
    )
    for message in conversation.greeting():
        _write(writer, _TEXT, json.dumps(message).encode())
    while True:
        await writer.drain()
        kind, content = await _read(reader)
        if kind == _CLOSE:
            _write(writer, _CLOSE, content[:2])
            await writer.drain()
            return
        if kind == _PING:
            _write(writer, _PONG, content)
        elif kind in (_TEXT, _BINARY):
            for message in conversation.answer(json.loads(content)):
                _write(writer, _TEXT, json.dumps(message).encode())


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One message; its frames are put together."""
    whole = b""
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        mask = await reader.readexactly(4)
        content = await reader.readexactly(length)
        plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(content))
        kind = first & 0x0F
        if kind >= _CLOSE:
            return kind, plain
        whole += plain
        if first & 0x80:
            return _TEXT, whole


def _write(writer: asyncio.StreamWriter, kind: int, content: bytes) -> None:
    size = len(content)
    if size < 126:
        length = bytes([size])
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    writer.write(bytes([0x80 | kind]) + length + content)
