"""Starts the libraries underneath as a command wants them: quickly, and without log lines of their own."""

import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: From glibc's malloc.h.
_M_ARENA_MAX = -8


def prepare() -> None:
    """Call it before anything heavy is imported; calling it again changes nothing."""
    # gRPC's own line would stand beside the one clear line about a port in use; delta-kernel warns whenever a reader
    # stops early, which is how a log is read.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("RUST_LOG", "error")
    _with_few_arenas()
    _without_pandas()


def _with_few_arenas() -> None:
    """Let the threads of the collector share two heaps of the C library.

    With one for each thread, which glibc would make up to eight a core, each keeps what its largest batch needed: 60 MB more
    at the peak of a burst, for no less CPU.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has no arenas and no such function
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 2)


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
