"""Speaks HTTP with the check API: kept-alive connections, short time-outs, nothing but the standard library."""

import contextlib
import json
import queue
import threading
from collections import deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from spanledger.instrumentation import harmless


class CheckClient:
    """Safe to use from many threads; every request has a connection to itself while it runs."""

    def __init__(self, url: str, key: str, timeout_seconds: float) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout_seconds
        self._headers = {"content-type": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._idle: deque[HTTPConnection] = deque(maxlen=16)

    def request(self, method: str, path: str, document: object = None, timeout_seconds: float | None = None) -> tuple[int, Any]:
        """The status and the JSON of the answer (None where there is none). Raises OSError or HTTPException."""
        body = None if document is None else json.dumps(document).encode()
        seconds = self._timeout if timeout_seconds is None else timeout_seconds
        deadline = monotonic() + seconds
        while True:
            try:
                connection, fresh = self._idle.pop(), False
            except IndexError:
                connection, fresh = self._kind(self._host, self._port, timeout=seconds), True
            try:
                return self._exchange(connection, method, path, body, deadline)
            except (OSError, HTTPException) as error:
                connection.close()
                # A kept-alive connection that the server has closed in the meantime says nothing about the server.
                if fresh or isinstance(error, TimeoutError) or monotonic() >= deadline:
                    raise

    def _exchange(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None, deadline: float
    ) -> tuple[int, Any]:
        connection.timeout = max(0.001, deadline - monotonic())
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        connection.request(method, self._prefix + path, body, self._headers)
        if connection.sock is not None:
            connection.sock.settimeout(max(0.001, deadline - monotonic()))
        response = connection.getresponse()
        content = response.read()
        if not response.will_close:
            self._idle.append(connection)
        else:
            connection.close()
        try:
            return response.status, json.loads(content) if content else None
        except ValueError:
            return response.status, None

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    def forget(self) -> None:
        """A child process must not use its parent's connections."""
        self._idle.clear()


class Courier:
    """Does on a thread of its own what nobody waits for: settling, releasing and fetching holds.

    What cannot be delivered is dropped: a hold ends with its lease anyway.
    """

    def __init__(
        self, client: CheckClient, now_and_then: Callable[[], object], needed: Callable[[], bool], seconds: float
    ) -> None:
        """`now_and_then` is done every so many seconds, once something was asked of it; closed, while that is `needed`."""
        self._client = client
        self._now_and_then, self._needed, self._seconds = now_and_then, needed, seconds
        self._closed = False
        self._queue: queue.Queue[Callable[[], object]] = queue.Queue(maxsize=10_000)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def send(self, method: str, path: str, document: object = None) -> None:
        self.do(lambda: self._client.request(method, path, document, timeout_seconds=2.0))

    def do(self, errand: Callable[[], object]) -> None:
        """In its turn; dropped when ten thousand others wait."""
        try:
            self._queue.put_nowait(errand)
        except queue.Full:
            return
        self.start()

    def start(self) -> None:
        """Be there; does nothing when it is."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="spanledger courier", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        due = monotonic() + self._seconds
        while not (self._closed and self._leaves()):
            errand: Callable[[], object] | None = None
            with contextlib.suppress(queue.Empty):
                errand = self._queue.get(timeout=max(0.0, due - monotonic()))
            if monotonic() >= due:
                due = monotonic() + self._seconds
                _tried(self._now_and_then)
            if errand is not None:
                _tried(errand)
                errand = None  # what it speaks of must not live until the next one comes
                self._queue.task_done()
        self._client.close()

    def _leaves(self) -> bool:
        """Whether nothing is left to do; whoever asks for something after that starts another thread."""
        with self._lock:
            if not self._queue.empty() or self._needed():
                return False
            self._thread = None
            return True

    def close(self, seconds: float) -> None:
        """The same as `finish`, and the thread ends once nothing is left to do."""
        self.finish(seconds)
        self._closed = True
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(lambda: None)

    def finish(self, seconds: float) -> None:
        """Wait until everything is sent, but not longer than this."""
        deadline = monotonic() + seconds
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks and (thread := self._thread) is not None and thread.is_alive():
                left = deadline - monotonic()
                if left <= 0:
                    return
                self._queue.all_tasks_done.wait(left)

    def forget(self) -> None:
        """In a child process: the parent's thread and its lock states are gone."""
        self._queue = queue.Queue(maxsize=10_000)
        self._lock = threading.Lock()
        self._thread = None


def _tried(errand: Callable[[], object]) -> None:
    try:
        errand()
    except (OSError, HTTPException):
        return
    except Exception as bug:
        harmless.drop(bug, "telling the check API about a hold")
