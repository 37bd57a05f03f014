"""Puts metering into a client's request layer: now if the client is imported, else when it is."""

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.provider import RequestLayer

logger = logging.getLogger("spanledger.instrumentation")

#: Stands on a replaced function and holds the client's own.
MARK = "__spanledger_original__"

Wrap = Callable[[Any], Any]
Targets = dict[str, list[tuple[RequestLayer, Wrap]]]


def replace(module: ModuleType, layer: RequestLayer, wrap: Wrap) -> None:
    """Put the wrapped function in place of the client's own; a client that is not as expected is left alone."""
    owner: Any = getattr(module, layer.owner, None) if layer.owner else module
    original = vars(owner).get(layer.method) if owner is not None else None
    if not callable(original) and (original is None or layer.style != "tracer"):
        logger.debug("%s has no %s.%s; its calls are not metered", module.__name__, layer.owner, layer.method)
        return
    if hasattr(original, MARK):
        return
    replacement = wrap(original)
    if layer.style == "tracer":
        replacement.__wrapped__ = original
    else:
        functools.update_wrapper(replacement, original)
    setattr(replacement, MARK, original)
    setattr(owner, layer.method, replacement)


def restore(module: ModuleType, layer: RequestLayer) -> None:
    """Put the client's own function back, unless someone else has wrapped ours in the meantime."""
    owner: Any = getattr(module, layer.owner, None) if layer.owner else module
    now = vars(owner).get(layer.method) if owner is not None else None
    original = getattr(now, MARK, None)
    # A wrapper that copied our attributes is not ours: its own original is what ours stands in.
    if original is not None and getattr(now, "__wrapped__", None) is original:
        setattr(owner, layer.method, original)


class Finder:
    """Stands first on `sys.meta_path` and answers only for the modules it waits for, with the spec the others find."""

    spanledger_finder = True

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.targets:
            return None
        for finder in sys.meta_path:
            if finder is self or getattr(finder, "spanledger_finder", False) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._patch_after(spec)
                return spec
        return None

    def _patch_after(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            return

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.patch(module)

        try:
            # On this loader only, so that its class, `get_source` and resources stay as they are.
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except AttributeError:
            logger.debug("cannot wait for %s to be imported; its calls are not metered", spec.name)

    def patch(self, module: ModuleType) -> None:
        for layer, wrap in self.targets.get(module.__name__, ()):
            try:
                replace(module, layer, wrap)
            except Exception as bug:
                harmless.drop(bug, f"patching {module.__name__}")


def install(targets: Targets) -> Finder:
    """Patch what is imported and wait for the rest. A finder of an earlier installation is replaced."""
    remove()
    finder = Finder(targets)
    sys.meta_path.insert(0, finder)
    for name in targets:
        module = sys.modules.get(name)
        if module is not None:
            finder.patch(module)
    return finder


def remove() -> None:
    """Take the finder away."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not getattr(finder, "spanledger_finder", False)]
