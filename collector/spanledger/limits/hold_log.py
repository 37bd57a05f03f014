"""Holds on disk, so that a collector that is killed knows what it had set aside when it comes back.

One line per event, appended without fsync: a killed process loses nothing that way, only a dead machine does, and then
the leases of its clients run out. The file is written anew when most of it is about holds that are gone.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from spanledger.limits.check import Check
from spanledger.limits.counters import Hold, Place

#: A file shorter than this is not worth writing anew.
COMPACT_BYTES = 4 * 1024 * 1024


class HoldLog:
    """Appends what happens to holds; `load` gives back those that are still held."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = os.fstat(self._file).st_size
        self._live_size = self._size

    def added(self, hold: Hold) -> None:
        """A hold was made, settled or extended: its newest line counts."""
        self._write(_line(hold))

    def gone(self, hold_id: str) -> None:
        """A hold was released, replaced by its entry, or expired."""
        self._write(b'{"x":"%s"}\n' % hold_id.encode())

    def load(self, now: int) -> list[Hold]:
        """The holds that are still held; what a kill cut off at the end of the file is left out."""
        holds: dict[str, Hold] = {}
        with self._path.open("rb") as lines:
            for line in lines:
                try:
                    event = orjson.loads(line)
                    if isinstance(event, dict):
                        holds.pop(event["x"], None)
                    else:
                        hold = _hold(event)
                        holds[hold.id] = hold
                except (ValueError, KeyError, TypeError):
                    continue
        live = [hold for hold in holds.values() if hold.settled or hold.expires_at > now]
        self.rewrite(live)
        return live

    def rewrite(self, live: Iterable[Hold]) -> None:
        """Write the file anew with these holds alone."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(map(_line, live)))
        fresh.replace(self._path)
        os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._size = self._live_size = os.fstat(self._file).st_size

    @property
    def wants_rewriting(self) -> bool:
        return self._size > COMPACT_BYTES + 2 * self._live_size

    def close(self) -> None:
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        self._size += os.write(self._file, line)


def _line(hold: Hold) -> bytes:
    about = {name: value for name in _ABOUT if (value := getattr(hold.about, name)) is not None}
    parts = [[*place, size, worst] for place, size, worst in hold.parts]
    return orjson.dumps([hold.id, hold.made_at, hold.expires_at, hold.settled, parts, about]) + b"\n"


def _hold(event: Any) -> Hold:
    hold_id, made_at, expires_at, settled, parts, about = event
    read = tuple(
        (Place(limit_id, tuple(key), start, end, width, length), size, worst)
        for limit_id, key, start, end, width, length, size, worst in parts
    )
    return Hold(hold_id, made_at, expires_at, read, replace(Check(), **about), settled)


#: What settling by tokens needs to price a call, and whose it is.
_ABOUT = ("tenant", "provider", "model", "operation", "service_tier")
