"""The shape of a dialect: how an emitter spells a call in OpenTelemetry, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

#: What a span, log record or point is taken for.
#: `leaf` describes one call; `agent` and `tool` bound the search for a call inside a call; `span` only passes things on;
#: `repeat` says again what a leaf says; `never` is no call whatever it carries; `correction` un-bills a call.
Role = Literal["leaf", "agent", "tool", "span", "repeat", "never", "correction"]

#: Where the cached part of the input stands: `in` the input number, `apart` from it (to be added), or `lost` (never exported,
#: so the input is too small or its cached part unknown). With a question mark nobody has seen it: taken so, and flagged.
Cache = Literal["in", "apart", "lost", "in?", "apart?"]

#: Where reasoning stands: `in` the output number, `apart` (add it), `total` (only total − input − output tells), or `lost`.
Reasoning = Literal["in", "apart", "total", "lost"]

#: Providers that differ in what they call input.
Family = Literal["openai", "anthropic", "bedrock", "google", "other"]

#: How an embedded usage object is written: the provider's own, or an emitter's.
Embedded = Literal["provider", "inclusive", "langfuse", "vercel", "adk"]


def _nothing() -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One row of the table. The first dialect whose scope matches reads a record, else the first whose marker it carries."""

    name: str
    #: instrumentation scopes: exact, or a prefix with a trailing `*`
    scopes: tuple[str, ...] = ()
    #: scope versions, as a prefix; empty for all
    versions: tuple[str, ...] = ()
    #: names of spans that tell this version of a scope from that of the row that its scope alone leads to
    spans: tuple[str, ...] = ()
    #: attributes that prove the dialect whatever the scope
    markers: tuple[str, ...] = ()
    #: attributes to be read before the shared ones, by field
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    #: fields that this emitter fills with something else, and their shared attributes
    not_read: tuple[str, ...] = ()
    #: names of spans, events of logs → role
    names: Mapping[str, Role] = field(default_factory=lambda: MappingProxyType({}))
    #: the dialect's own classifying attribute (field `class`, `subclass` after a slash) → role; `*` for any other value
    classes: Mapping[str, Role] = field(default_factory=lambda: MappingProxyType({}))
    #: fields that show that a leaf without usage was answered, and so was a call; none if only usage or an error does
    answers: tuple[str, ...] = ("response_model", "response_id", "finish_reason")
    #: cached input by family; `*` for every family that is not named
    cache: Mapping[str, Cache] = field(default_factory=lambda: MappingProxyType({}))
    reasoning: Mapping[str, Reasoning] = field(default_factory=lambda: MappingProxyType({}))
    #: details that never leave this emitter, so that a price from it cannot be exact
    loses: tuple[str, ...] = ()
    #: a cost of zero is what the provider says it charged, and no word for a price that this emitter does not know
    zero_cost: bool = False
    #: how `raw` is written, and whether it outranks the plain attributes
    embedded: Embedded = "provider"
    embedded_first: bool = False
    #: values of text fields are JSON-encoded
    json_values: bool = False
    #: the provider when no attribute names one
    provider: str = ""
    #: families whose response ids the emitter makes up; `*` for all
    synthetic_ids: tuple[str, ...] = ()
    #: the nth leaf reports the sum of 1 … n: of those below one span, or of all those of a trace
    cumulative: Literal["", "siblings", "trace"] = ""
    #: what spans around calls sum up: `all` calls below them, the `last` one only, or a `running` total that outlives them
    sums: Literal["all", "last", "running"] = "all"
    #: the metrics that are read; None for all, where others of this emitter say less or repeat them
    meters: tuple[str, ...] | None = None
    #: the signal whose record stands when several describe a call
    authority: tuple[str, ...] = ("traces", "logs", "metrics")
