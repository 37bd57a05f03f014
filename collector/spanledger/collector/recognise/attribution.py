"""Whom a call is for: which attributes say so, as configured."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from spanledger.collector.dialects import as_key
from spanledger.collector.dialects.fields import ATTRIBUTION, WHO

#: Attributes that become tags, and under which name: the part that the group matches.
TAGS: tuple[str, ...] = (
    r"spanledger\.tag\.(.+)",
    r"ai\.telemetry\.metadata\.(.+)",
    r"langfuse\.trace\.metadata\.(.+)",
    r"traceloop\.association\.properties\.((?!langgraph|ls_|lc_|checkpoint).+)",
    r"metadata\.requester_metadata\.(.+)",
    r"metadata:((?!langgraph|ls_|lc_|checkpoint).+)",
    r"tag:(.+)",
)
#: Whoever sends telemetry chooses the names of attributes: of no more of them is it known which tag they become.
_REMEMBERED = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Attributes by dimension, the first present one wins: on the call, then on its ancestors, then on its resource.

    >>> Attribution(tenant=("customer.id",)).of("tenant")[0]
    'customer.id'
    """

    tenant: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    #: regular expressions over whole attribute names; the first group is the tag's name
    tags: tuple[str, ...] = ()
    #: whether the lists above come before the built-in ones, or stand alone
    with_defaults: bool = True
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False, default=())
    _tags: dict[str, str | None] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `ValueError` naming the pattern that is no regular expression with a group."""
        patterns = []
        for pattern in (*self.tags, *(TAGS if self.with_defaults else ())):
            try:
                compiled = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"tag pattern {pattern!r} is no regular expression: {error}") from error
            if compiled.groups < 1:
                raise ValueError(f"tag pattern {pattern!r} needs a group that matches the tag's name")
            patterns.append(compiled)
        object.__setattr__(self, "_patterns", tuple(patterns))

    def of(self, dimension: str) -> tuple[str, ...]:
        """The attributes of a dimension, in order."""
        own: tuple[str, ...] = getattr(self, dimension)
        return (*own, *(ATTRIBUTION[dimension] if self.with_defaults else ()))

    @property
    def bytes(self) -> str:
        """What a record holds that says whom a call is for by a configured attribute, whatever else it is about. RE2."""
        return "|".join(as_key(name) for dimension in WHO for name in getattr(self, dimension))

    def table(self) -> Mapping[str, tuple[str, ...]]:
        """Attributes of every dimension."""
        return {dimension: self.of(dimension) for dimension in WHO}

    def tag(self, attribute: str) -> str | None:
        """The tag that an attribute becomes."""
        if attribute not in self._tags:
            if len(self._tags) >= _REMEMBERED:
                self._tags.clear()
            found = next((match for pattern in self._patterns if (match := pattern.fullmatch(attribute))), None)
            self._tags[attribute] = found.group(1)[:128] if found else None
        return self._tags[attribute]
