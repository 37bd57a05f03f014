"""Whom a limit covers: patterns on dimensions, and an index that finds the limits of a call among thousands.

In limits, `model` is the model that is asked for (the requested one): before the call, nobody knows which will answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from spanledger.limits.check import LONGEST_TAG, pattern_as_kept
from spanledger.limits.errors import LimitError

#: The dimensions that a check and an entry both know. Tags are `tag.<key>`.
DIMENSIONS: tuple[str, ...] = (
    "tenant", "project", "user", "agent", "session", "environment", "service", "operation", "provider", "model", "trace",
)  # fmt: skip

Subject = Mapping[str, str | None]


def is_dimension(name: str) -> bool:
    return name in DIMENSIONS or (name.startswith("tag.") and 0 < len(name) - len("tag.") <= LONGEST_TAG)


def selectors_of(given: Any) -> dict[str, tuple[str, ...]]:
    """`{"tenant": "acme", "model": ["gpt-*"]}` in its full form. Raises `LimitError` naming the selector."""
    if not isinstance(given, Mapping):
        raise LimitError("selectors", 'must be like {"tenant": ["acme"], "model": ["gpt-*"]}')
    selectors = {}
    for name, patterns in given.items():
        known_dimension(f"selectors.{name}", name)
        listed = [patterns] if isinstance(patterns, str) else patterns
        if not isinstance(listed, Sequence) or not listed or not all(isinstance(p, str) and p for p in listed):
            raise LimitError(f"selectors.{name}", 'must be a value or a list of values; "abc*" is a prefix, "*" any value')
        for pattern in listed:
            if "*" in pattern[:-1]:
                raise LimitError(f"selectors.{name}", f'{pattern!r}: "*" may stand at the end only')
        selectors[name] = tuple(dict.fromkeys(pattern_as_kept(name, pattern) for pattern in listed))
    return selectors


def per_of(given: Any) -> tuple[str, ...]:
    """`per` in its full form. Raises `LimitError`."""
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise LimitError("per", 'must be a list of dimensions such as ["user"]')
    for name in listed:
        known_dimension("per", name)
    return tuple(dict.fromkeys(listed))


def known_dimension(field: str, name: str) -> None:
    """Raises `LimitError` for what is no dimension."""
    if not is_dimension(name):
        raise LimitError(field, f"{name!r} is not a dimension (known: {', '.join(DIMENSIONS)}, tag.<key>)")


def matches(patterns: Iterable[str], value: str | None) -> bool:
    """Whether a value fits one of the patterns; what is not given fits none."""
    return value is not None and any(value.startswith(p[:-1]) if p.endswith("*") else value == p for p in patterns)


class Selecting(Protocol):
    @property
    def selectors(self) -> Mapping[str, tuple[str, ...]]: ...


T = TypeVar("T", bound=Selecting)


class Index(Generic[T]):
    """Finds what selects a subject; each selecting thing lies under one exact value that it needs, if it needs any."""

    def __init__(self, things: Iterable[T]) -> None:
        self._exact: dict[str, dict[str, list[T]]] = {}
        self._general: list[T] = []
        for thing in things:
            exact = [(len(p), name) for name, p in thing.selectors.items() if not any(x.endswith("*") for x in p)]
            if not exact:
                self._general.append(thing)
                continue
            _, name = min(exact)
            for value in thing.selectors[name]:
                self._exact.setdefault(name, {}).setdefault(value, []).append(thing)

    def find(self, subject: Subject) -> list[T]:
        """All that select this subject."""
        near = list(self._general)
        for name, by_value in self._exact.items():
            value = subject.get(name)
            if value is not None and value in by_value:
                near += by_value[value]
        return [
            thing
            for thing in near
            if not thing.selectors or all(matches(p, subject.get(name)) for name, p in thing.selectors.items())
        ]
