"""The table of dialects: which emitter wrote a record, and what its attributes mean.

To add a dialect, add a row to one of the modules and a sample to tests/dialects/samples; the first row that fits reads
a record. Facts and their sources: docs/dialects.md.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from spanledger.collector.dialects import agents, conventions, libraries
from spanledger.collector.dialects.dialect import Dialect
from spanledger.collector.dialects.fields import ATTRIBUTION, FIELDS, LISTS, OBJECTS, SHARED, WHO

__all__ = [
    "DIALECTS", "MODEL_BYTES", "SCOPE_PATTERN", "STRUCTURED", "Dialect", "aliases", "as_key", "dialect_of_scope",
    "dialect_of_span", "marker_dialects", "telling_spans",
]  # fmt: skip

DIALECTS: tuple[Dialect, ...] = (*conventions.ROWS, *libraries.ROWS, *agents.ROWS, conventions.CONVENTIONS)

#: Attributes that say so little about models that a search for their bytes would find every span.
_TOO_COMMON = re.compile(r"^[a-z_]+$|^(http|error|exception|server|cloud|aws)\.")


def _prefixes() -> list[str]:
    """The shortest beginnings of attribute names by which a record about a model is found."""
    names = {name for row in (SHARED, ATTRIBUTION, *(d.aliases for d in DIALECTS)) for names in row.values() for name in names}
    names |= {marker for dialect in DIALECTS for marker in dialect.markers}
    wide = (
        "gen_ai.",
        "llm.",
        "ai.usage",
        "ai.response",
        "ai.model",
        "ai.telemetry",
        "ai.operationId",
        "langfuse.",
        "mlflow.",
        "traceloop.",
        "langsmith.",
        "litellm",
        "anthropic.",
        "cursor.",
        "codex.",
        "claude_code",
        "gemini_cli",
        "copilot",
        "spanledger.",
        "strands.",
        "embedding.",
        "openinference.",
        "ag2.",
        "opencode.",
    )
    return [*wide, *sorted(n for n in names if not _TOO_COMMON.match(n) and not n.startswith(wide))]


def as_key(name: str) -> str:
    """The bytes of an attribute of that name, and of none whose name or value only contains it. RE2."""
    # Protobuf: field 1 of a KeyValue, its length, the name, then field 2.
    size = len(name.encode())
    framed = rf"\x{size:02x}{re.escape(name)}\x12" if size < 128 else rf"{re.escape(name)}\x12"
    return rf"\n{framed}" if size < 128 else framed


#: Short names of whom a call is for, on spans that say nothing of models.
_PLAIN_WHO = [as_key(name) for names in ATTRIBUTION.values() for name in names if _TOO_COMMON.match(name)]

#: Bytes that only a record about a model, or one that says who a call is for, holds. RE2.
MODEL_BYTES = "|".join([*(re.escape(prefix) for prefix in _prefixes()), *_PLAIN_WHO])

#: Names of scopes that are known to be about models, to be searched in a scope's bytes. RE2.
SCOPE_PATTERN = "|".join(
    re.escape(name) if len(name := scope.rstrip("*")) > 8 else rf"(?s:\n.){re.escape(name)}"
    for dialect in DIALECTS
    for scope in dialect.scopes
)


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


#: Attributes that may hold an object or a list of which something is read; all other structures are content.
STRUCTURED: tuple[str, ...] = tuple(
    {*OBJECTS, *LISTS, *SHARED["model_hint"]}
    | {name for d in DIALECTS for field in ("raw", "raw_output", "raw_cost") for name in d.aliases.get(field, ())}
)


@lru_cache(maxsize=4096)  # whoever sends telemetry chooses the names
def dialect_of_scope(name: str, version: str) -> int | None:
    """Index of the first dialect that this scope alone leads to, or None."""
    return next((at for at, dialect in enumerate(DIALECTS) if not dialect.spans and _of_scope(dialect, name, version)), None)


@lru_cache(maxsize=4096)  # whoever sends telemetry chooses the names
def dialect_of_span(name: str, version: str, span: str) -> int | None:
    """Index of the dialect that the name of a span tells from others of its scope, or None."""
    return next((at for at, dialect in enumerate(DIALECTS) if span in dialect.spans and _of_scope(dialect, name, version)), None)


@lru_cache(maxsize=4096)  # whoever sends telemetry chooses the names
def telling_spans(name: str, version: str) -> frozenset[str]:
    """Names of spans of this scope for which `dialect_of_span` gives something."""
    return frozenset(span for dialect in DIALECTS if _of_scope(dialect, name, version) for span in dialect.spans)


def _of_scope(dialect: Dialect, name: str, version: str) -> bool:
    fits = any(_fits(scope, name) for scope in dialect.scopes)
    return fits and (not dialect.versions or version.startswith(dialect.versions))


def marker_dialects() -> Mapping[str, int]:
    """Marker attribute → index of the first dialect that it proves."""
    found: dict[str, int] = {}
    for index, dialect in enumerate(DIALECTS):
        for marker in dialect.markers:
            found.setdefault(marker, index)
    return found


def aliases(dialect: Dialect, attribution: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, int]]:
    """Attribute → (field, rank) in this dialect; rank 0 is read first. An attribute feeds the first field that names it."""
    table: dict[str, tuple[str, int]] = {}
    for field in FIELDS:
        own = dialect.aliases.get(field, ())
        shared = () if field in dialect.not_read else attribution.get(field) or SHARED.get(field, ())
        # Whom a call is for is a matter of configuration, which goes before what the dialect knows.
        for rank, name in enumerate((*shared, *own) if field in WHO else (*own, *shared)):
            if name not in table or (rank < len(own) and field not in WHO):
                table[name] = (field, rank)
    return table
