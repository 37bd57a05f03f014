"""A provider stand-in on loopback: an HTTP/1.1 server that answers in the providers' own wire formats."""

import asyncio
import json
import re
import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from spanledger.cli.provider_stand_in.websocket import Converse, hold, is_upgrade
from spanledger.cli.provider_stand_in.wire import Answer, Request, Speaker, answer_json

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


class StandIn:
    """Runs on a thread of its own from construction until `close()`; also a context manager.

    `url` is its address without a path. `seen` keeps the latest requests. `pause_seconds` waits between the chunks
    of a stream, `think_seconds` before every answer. The port 0 picks a free one. Ids of answers count on from
    `answered_before`: a provider never gives an id twice, and a ledger takes the same id for the same call.
    """

    def __init__(
        self,
        speakers: Sequence[Speaker],
        *,
        port: int = 0,
        pause_seconds: float = 0.0,
        think_seconds: float = 0.0,
        answered_before: int = 0,
        conversations: Sequence[Converse] = (),
    ) -> None:
        self.speakers = tuple(speakers)
        self.conversations = tuple(conversations)
        self.pause_seconds = pause_seconds
        self.think_seconds = think_seconds
        self.seen: deque[Request] = deque(maxlen=2_000)
        self._count = answered_before
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", port))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider stand-in", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._loop.is_closed():
            return

        async def stop() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            mine = asyncio.current_task()
            tasks = [task for task in asyncio.all_tasks() if task is not mine]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (request := await self._read(reader)) is not None:
                self.seen.append(request)
                if is_upgrade(request):
                    await self._converse(request, reader, writer)
                    break
                if self.think_seconds:
                    await asyncio.sleep(self.think_seconds)
                if not await self._write(writer, self._answer(request)):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client went away, as one that leaves a stream early does; or the stand-in is closed.
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _converse(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for converse in self.conversations:
            if (conversation := converse(request)) is not None:
                return await hold(conversation, request, reader, writer)
        await self._write(writer, self._answer(request))
        return None

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        content = await self._content(reader, headers)
        path, _, query = target.partition("?")
        self._count += 1
        return Request(
            method=method,
            path=unquote(path),
            query=query,
            headers=headers,
            content=content,
            body=_document(content, headers),
            number=self._count,
        )

    async def _content(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return await reader.readexactly(int(headers.get("content-length", 0)))
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return b"".join(parts)

    def _answer(self, request: Request) -> Answer:
        for speaker in self.speakers:
            if (answer := speaker(request)) is not None:
                return answer
        return answer_json({"error": {"message": f"The stand-in does not know {request.method} {request.path}"}}, 404)

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        """Send it; False when the connection must not be used again."""
        headers = dict(answer.headers)
        if answer.chunks is None:
            headers["content-length"] = str(len(answer.content))
        else:
            headers["transfer-encoding"] = "chunked"
        head = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}\r\n"
        writer.write((head + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n").encode("latin-1") + answer.content)
        for chunk in answer.chunks or ():
            if writer.transport.is_closing():
                return False
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if self.pause_seconds:
                await writer.drain()
                await asyncio.sleep(self.pause_seconds)
        if answer.cut:
            await writer.drain()
            return False
        if answer.chunks is not None:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _document(content: bytes, headers: dict[str, str]) -> dict[str, Any]:
    kind = headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        return _form(content)
    # Some clients send their JSON without saying that it is.
    if "json" not in kind and not content.startswith(b"{"):
        return {}
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _form(content: bytes) -> dict[str, Any]:
    """The plain fields of a form; its files are left out."""
    fields = re.finditer(rb'form-data; name="(\w+)"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r]*)\r\n', content)
    return {match[1].decode(): match[2].decode(errors="replace") for match in fields}
