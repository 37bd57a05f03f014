"""Starts the libraries underneath as a command wants them: quickly, and without log lines of their own."""

import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from spanledger.cli import mapped

#: From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT = 512 * 1024 * 1024
_MOST_OF_OLDER = 32 * 1024 * 1024


def prepare() -> None:
    """Call it before anything heavy is imported; calling it again changes nothing."""
    # gRPC's own line would stand beside the one clear line about a port in use; delta-kernel warns whenever a reader
    # stops early, which is how a log is read.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("RUST_LOG", "error")
    # Polars' own allocator has four heaps a core, each of which keeps what its largest batch needed: 20 to 60 MB more than one.
    # It would keep pages for ten seconds; what one second's batches need again is all that pays.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0")
    _on_one_heap()
    _without_pandas()


def started() -> None:
    """Call it once, when all that a process serves with is loaded and open."""
    # What is there by now stays: looking through it for garbage again and again would take a third of every check.
    gc.collect()
    gc.freeze()
    mapped.give_back()


def _on_one_heap() -> None:
    """Let the C library keep pages that it had, for Arrow as well, and let threads share two heaps.

    A batch's columns would be new pages each time, and given back after it: a fifth of the CPU of a batch, more with content.
    A heap for each thread, of which glibc would make up to eight a core, keeps what its largest batch needed: 60 MB more.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has nothing to set
        if mallopt is not None:
            os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
            mallopt(_M_ARENA_MAX, 2)
            mallopt(_M_TRIM_THRESHOLD, _KEPT)
            if not mallopt(_M_MMAP_THRESHOLD, _KEPT):
                mallopt(_M_MMAP_THRESHOLD, _MOST_OF_OLDER)


def _without_pandas() -> None:
    """Let pyarrow find out that there is no pandas; others can still import it afterwards.

    pyarrow imports it, where it is installed, at the first `pa.array` of Python values, only to ask whether they are
    pandas'. That costs a second of start-up and 60 MB, and nothing here uses it: Streamlit, which brings it, runs in a
    process of its own.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([1])
    finally:
        sys.meta_path.remove(finder)


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("pyarrow goes without pandas here", name=name)
        return None
