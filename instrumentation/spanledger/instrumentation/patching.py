"""Puts metering into a client's request layer: now if the client is imported, else when it is."""

import functools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.provider import RequestLayer

logger = logging.getLogger("spanledger.instrumentation")

#: Stands on a replaced function and holds the client's own.
MARK = "__spanledger_original__"

#: Wrappers over one another that are looked through.
_DEEPEST = 20

Wrap = Callable[[Any], Any]
Targets = dict[str, list[tuple[RequestLayer, Wrap]]]


def replace(module: ModuleType, layer: RequestLayer, wrap: Wrap) -> None:
    """Put the wrapped function in place of the client's own; a client that is not as expected is left alone."""
    owner: Any = getattr(module, layer.owner, None) if layer.owner else module
    original = vars(owner).get(layer.method) if owner is not None else None
    if not callable(original) and (original is None or layer.style != "tracer"):
        logger.debug("%s has no %s.%s; its calls are not metered", module.__name__, layer.owner, layer.method)
        return
    if not hasattr(original, MARK):
        _put(owner, layer, original, wrap)
    if isinstance(owner, type):
        for kind in _hiding(owner, layer.method):
            _put(kind, layer, vars(kind)[layer.method], wrap)


def _put(owner: Any, layer: RequestLayer, original: Any, wrap: Wrap) -> None:
    replacement = wrap(_called(original) if isinstance(owner, type) else original)
    if layer.style == "tracer":
        replacement.__wrapped__ = original
    else:
        functools.update_wrapper(replacement, original)
    setattr(replacement, MARK, original)
    setattr(owner, layer.method, replacement)


def _called(original: Any) -> Any:
    """What another instrumentation has left in a class may be no function, and know its object only when it is bound to it."""
    # By its type: a proxy says that it is an instance of what it stands for.
    if type(original) is FunctionType:
        return original

    def bound(client: Any, *args: Any, **kwargs: Any) -> Any:
        return original.__get__(client, type(client))(*args, **kwargs)

    return bound


def restore(module: ModuleType, layer: RequestLayer) -> None:
    """Put the client's own function back, unless someone else has wrapped ours in the meantime."""
    owner: Any = getattr(module, layer.owner, None) if layer.owner else module
    if owner is None:
        return
    places: tuple[Any, ...] = (owner, *_below(owner)) if isinstance(owner, type) else (owner,)
    for place in places:
        now = vars(place).get(layer.method)
        if _is_ours(now):
            setattr(place, layer.method, getattr(now, MARK))


def _below(owner: type) -> Iterator[type]:
    kind: type
    for kind in type.__subclasses__(owner):
        yield kind
        yield from _below(kind)


def _hiding(owner: type, method: str) -> Iterator[type]:
    """Classes below, in which another instrumentation has wrapped the client's own function before ours came: calls through
    them would pass us by. A method that a class has of its own calls ours, and is left alone."""
    own = getattr(vars(owner)[method], MARK)
    for kind in _below(owner):
        there = vars(kind).get(method)
        for _ in range(_DEEPEST):
            if there is own:
                yield kind
            if there is own or there is None or _is_ours(there):
                break
            there = getattr(there, "__wrapped__", None)


def _is_ours(function: Any) -> bool:
    """A wrapper of someone else's that copied our attributes is not: its own original is what ours stands in."""
    original = getattr(function, MARK, None)
    return original is not None and getattr(function, "__wrapped__", None) is original


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
