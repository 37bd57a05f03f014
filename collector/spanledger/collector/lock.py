"""One collector at a time over a data folder."""

import fcntl
import os
from pathlib import Path
from types import TracebackType


class AlreadyRunning(Exception):
    """Another collector holds the data folder; the message names its process."""


class FolderLock:
    """Holds `collector.lock`; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, data: Path) -> None:
        """Raises `AlreadyRunning`."""
        data.mkdir(parents=True, exist_ok=True)
        self._file = (data / "collector.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise AlreadyRunning(
                f"another collector (process {holder}) runs on {data}; stop it or choose another --data"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let another collector have the folder."""
        self._file.close()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
