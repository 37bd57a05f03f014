"""Child processes that end when their parent ends, whichever way that happens."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

#: What a child is waited for to say stands among its first words.
_FIRST_BYTES = 65_536
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """This Python, run with `arguments`. Its standard error is ours; its output is kept for `line` to look at.

    A session of its own keeps the terminal's Ctrl-C from it: the parent says when it is its turn to stop.
    """

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        # A file, not a pipe: a child that prints as it stops, as Streamlit does, would fail over a pipe whose reader is gone.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `stop`
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=self._output, start_new_session=True,
            preexec_fn=_end_with_the_parent if sys.platform == "linux" else None,  # safe: no thread has been started
        )  # fmt: skip

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def line(self, start: str) -> str | None:
        """Wait for a line of output that begins so and give the rest of it; None when it ends without one."""
        while True:
            ended = self.code is not None
            # Not by `read`: child and parent share one position in the file.
            for line in os.pread(self._output.fileno(), _FIRST_BYTES, 0).decode(errors="replace").splitlines(keepends=True):
                if line.startswith(start) and line.endswith("\n"):
                    return line.removeprefix(start).strip()
            if ended:
                return None
            time.sleep(0.05)

    def stop(self, seconds: float) -> bool:
        """Ask it to end and wait; after `seconds` it is killed. True when it ended by itself."""
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            self._output.close()


def _end_with_the_parent() -> None:
    """Without this, a `kill -9` of the parent would leave a collector that holds the ports and the ledger."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
