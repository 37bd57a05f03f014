"""Child processes that end when their parent ends, whichever way that happens."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence


def start(arguments: Sequence[str], *, stdout: int | None = None) -> "subprocess.Popen[str]":
    """Run this Python with `arguments`.

    Its own session keeps the terminal's Ctrl-C from it: the parent says when it is its turn to stop.
    """
    return subprocess.Popen(
        [sys.executable, *arguments], text=True, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True,
        preexec_fn=_end_with_the_parent if sys.platform == "linux" else None,  # before any thread is started
    )  # fmt: skip


def stop(child: "subprocess.Popen[str]", seconds: float) -> bool:
    """Ask it to end and wait; after `seconds` it is killed. True when it ended by itself."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return False


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_the_parent() -> None:
    """Without this, a `kill -9` of the parent would leave a collector that holds the ports and the ledger."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
