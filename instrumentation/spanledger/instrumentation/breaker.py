"""Stops asking an API that does not answer, and tries again later."""

import threading
import time
from collections.abc import Callable

FAILURES = 3
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class Breaker:
    """Open after three failures in a row; one attempt is let through after each pause, which doubles up to 30 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._open_until = 0.0

    def allows(self) -> bool:
        """Whether to ask now."""
        if self._failures < FAILURES:
            return True
        with self._lock:
            if self._clock() < self._open_until:
                return False
            # Only this one may try until it is told how it went.
            self._open_until = self._clock() + self._pause
            return True

    def succeeded(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures > FAILURES:
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            if self._failures >= FAILURES:
                self._open_until = self._clock() + self._pause
