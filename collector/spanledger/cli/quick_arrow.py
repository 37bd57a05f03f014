"""Keeps pyarrow from importing pandas, which costs a second of start-up and 60 MB and which no command here uses.

pyarrow imports it, where it is installed, at the first `pa.array` of Python values, only to ask whether they are pandas'.
Streamlit, which needs it, has it installed; it runs in a process of its own.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("pyarrow goes without pandas here", name=name)
        return None


def start_quickly() -> None:
    """Let pyarrow find out, once and for all, that there is no pandas. Others can still import it afterwards."""
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([1])
    finally:
        sys.meta_path.remove(finder)
