"""Arrays of one length that grow at their end, so that adding a few rows moves none of the others."""

from typing import Any

import numpy as np
import numpy.typing as npt

from spanledger.collector.columns.chunks import Flags


class Arrays:
    """By name; what is asked for is seen in place and may be written to."""

    __slots__ = ("_arrays", "_room", "height")

    def __init__(self, kinds: dict[str, Any]) -> None:
        self._room, self.height = 1024, 0
        self._arrays = {name: np.empty(self._room, dtype=kind) for name, kind in kinds.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name][: self.height]

    def extend(self, more: dict[str, npt.NDArray[Any]], count: int) -> None:
        """Add so many rows."""
        end = self.height + count
        if end > self._room:
            self._room = end + end // 2
            for name, array in self._arrays.items():
                self._arrays[name] = np.empty(self._room, dtype=array.dtype)
                self._arrays[name][: self.height] = array[: self.height]
        for name, array in self._arrays.items():
            array[self.height : end] = more[name]
        self.height = end

    def keep(self, kept: Flags) -> None:
        """Let go of all rows but these."""
        left = int(kept.sum())
        first = int(kept.argmax()) if left else 0
        tail: slice | Flags = slice(first, self.height) if self.height - first == left else kept
        for name, array in self._arrays.items():
            array[:left] = self[name][tail]
        self.height = left
