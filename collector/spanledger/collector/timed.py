"""Add up how long each step takes, for the operator."""

import time


class Timed:
    """A context whose time is added to `seconds[step]`."""

    __slots__ = ("_began", "_seconds", "_step")

    def __init__(self, seconds: dict[str, float], step: str) -> None:
        self._seconds, self._step = seconds, step

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self._seconds[self._step] = self._seconds.get(self._step, 0.0) + time.perf_counter() - self._began
