"""Holds spans until they have arrived: a collector that is slow or away costs memory and time, not calls."""

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from opentelemetry import context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanledger.instrumentation import harmless

logger = logging.getLogger("spanledger.instrumentation")

BATCH = 512
QUEUE = 20_000
#: Short, so that a process that is killed loses little; a batch costs its thread two or three milliseconds.
DELAY_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 30.0
#: A collector that is there and still does not take a batch after this many attempts never will.
ATTEMPTS = 5
#: How long the exit waits for a collector that is there.
EXIT_SECONDS = 30.0


class Outbox(SpanProcessor):
    """Sends in batches on a thread of its own, in order, and keeps what did not arrive; the oldest goes when it is full.

    `reachable` says whether anything listens at the endpoint: then the exit waits for it, else it gives up at once.
    Unlike the SDK's batch processor, a failed export loses nothing, and the exit is as short as it can be.
    """

    def __init__(self, exporter: SpanExporter, reachable: Callable[[], bool]) -> None:
        self._exporter = exporter
        self._reachable = reachable
        self._delay = _number("OTEL_BSP_SCHEDULE_DELAY", DELAY_SECONDS * 1000) / 1000
        self._batch = int(_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH))
        self._exit = _number("OTEL_BSP_EXPORT_TIMEOUT", EXIT_SECONDS * 1000) / 1000
        self._spans: deque[ReadableSpan] = deque()
        self._most = int(_number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE))
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._urgent = self._closed = False
        self._failures = 0
        self._dropped = 0
        #: Held while a batch is on its way: a fork waits for it, so that a child is not born in the middle.
        self.sending = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        with self._changed:
            if self._closed:
                return
            self._spans.append(span)
            if len(self._spans) > self._most:
                self._spans.popleft()
                self._drop(1, "its queue is full")
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="spanledger outbox", daemon=True)
                self._worker.start()
            if len(self._spans) == self._batch:
                self._changed.notify_all()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send everything now; whether it arrived within the time. Where nothing listens, it is not waited for."""
        with self._changed:
            waiting = bool(self._spans)
        return not waiting or (self._reachable() and self._drain(timeout_millis / 1000))

    def shutdown(self) -> None:
        """Send what is left, for as long as a collector is there to take it, and say so if it did not."""
        with self._changed:
            waiting = bool(self._spans)
        if waiting and not self._drain(self._exit if self._reachable() else 0.0):
            logger.warning("%d calls could not be sent before the exit: the OTLP endpoint did not take them", len(self._spans))
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._exporter.shutdown()

    def _drain(self, seconds: float) -> bool:
        deadline = monotonic() + seconds
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            while self._spans:
                left = deadline - monotonic()
                if left <= 0 or self._worker is None or not self._worker.is_alive():
                    break
                self._changed.wait(min(left, 0.2))
            self._urgent = False
            return not self._spans

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._urgent and not self._closed and len(self._spans) < self._batch:
                    self._changed.wait(self._delay)
                if self._closed:
                    return
                batch = [self._spans[place] for place in range(min(len(self._spans), self._batch))]
                if not batch:
                    if self._urgent:
                        self._changed.notify_all()
                        self._changed.wait(0.05)
                    continue
            try:
                self._send(batch)
            except Exception as bug:
                self._remove(batch)
                harmless.drop(bug, "sending spans")

    def _send(self, batch: Sequence[ReadableSpan]) -> None:
        token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            with self.sending:
                arrived = self._exporter.export(batch) is SpanExportResult.SUCCESS
        finally:
            context.detach(token)
        if arrived:
            self._failures = 0
            self._remove(batch)
            return
        self._failures += 1
        if self._failures % ATTEMPTS == 0 and self._reachable():
            self._remove(batch)
            self._drop(len(batch), "the OTLP endpoint does not take them")
            return
        with self._changed:
            if not self._closed:
                pause = min(self._delay * 2**self._failures, LONGEST_PAUSE_SECONDS)
                self._changed.wait(0.2 if self._urgent else pause)

    def _remove(self, batch: Sequence[ReadableSpan]) -> None:
        with self._changed:
            for span in batch:
                # What was dropped in the meantime because the queue was full is gone from the front already.
                if self._spans and self._spans[0] is span:
                    self._spans.popleft()
            self._changed.notify_all()

    def _drop(self, count: int, why: str) -> None:
        if not self._dropped:
            logger.warning("telemetry is lost: %s; %d calls so far", why, count)
        self._dropped += count


def listens(endpoint: str, seconds: float = 1.0) -> bool:
    """Whether something accepts connections at this URL."""
    from urllib.parse import urlsplit

    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", port), seconds).close()
    except OSError:
        return False
    return True


def _number(variable: str, default: float) -> float:
    try:
        return float(os.environ.get(variable, "") or default)
    except ValueError:
        return default
