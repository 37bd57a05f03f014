"""The thread that hands bodies on, in order, each until the backend has taken or refused it."""

import logging
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

from spanledger.collector.journal.journal import Journal
from spanledger.collector.pass_through.deliver import Deliver, Later, Never
from spanledger.collector.received import Received, Signal

logger = logging.getLogger(__name__)

_AT_ONCE_BYTES = 8 * 1024 * 1024
_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: A backend that refuses one body, as one whose key has changed, may refuse thousands a second.
_QUIET_SECONDS = 60.0


@dataclass(slots=True)
class Passing:
    """What was handed on since the start, for the operator."""

    delivered: int = 0
    refused: int = 0
    retries: int = 0
    failing: str = ""


class PassThrough:
    """At least once: after a crash, the bodies handed on since the last mark are handed on again."""

    def __init__(self, journal: Journal, name: str, way: Deliver, *, signals: Collection[Signal]) -> None:
        """`name` is the journal's reader; the journal keeps bodies until this one has had them too. Of other signals than
        `signals` nothing is handed on."""
        self.progress = Passing()
        self.name = name
        self._journal, self._way, self._signals = journal, way, frozenset(signals)
        self._stopping = threading.Event()
        self._told = -_QUIET_SECONDS  # when a refusal was last logged, by the monotonic clock
        self._thread = threading.Thread(target=self._run, name=f"spanledger-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the body under way; what was not handed on stays in the journal."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._way.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for received in self._journal.peek(self.name, enough_bytes=_AT_ONCE_BYTES, patience_seconds=0.5):
                    if received.signal in self._signals and not self._hand_on(received):
                        return
                    self._journal.drop(received.sequence, reader=self.name)
            except Exception:
                logger.exception("handing on to %s failed and is tried again", self.name)
                self._stopping.wait(5.0)

    def _hand_on(self, received: Received) -> bool:
        """Whether the body was taken or refused; False when told to stop before that."""
        attempt = 0
        while True:
            try:
                self._way.deliver(received)
                self.progress.delivered += 1
            except Later as later:
                if not self.progress.failing:
                    logger.warning("%s cannot take telemetry now and is tried again: %s", self.name, later)
                self.progress.failing = str(later)
                self.progress.retries += 1
                wait = max(later.after_seconds, _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
                if self._stopping.wait(wait):
                    return False
                continue
            except Never as never:
                self.progress.refused += 1
                self._tell(received, never)
            self.progress.failing = ""
            return True

    def _tell(self, received: Received, never: Never) -> None:
        """Log a refusal, at most once a minute: `refused` counts them."""
        now = time.monotonic()
        if now - self._told < _QUIET_SECONDS:
            return
        self._told = now
        said = "%s refuses body %d of %s for good, %d since the start: %s"
        logger.error(said, self.name, received.sequence, received.signal, self.progress.refused, never)
