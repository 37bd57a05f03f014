"""Metrics that count calls, tokens or money, as rows: what their points mean by token type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One metric. `fields` maps the value of `type_attribute` to what is counted; "" where there is no such attribute."""

    name: str
    type_attribute: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: a histogram's count of points is a number of calls
    counts_calls: bool = False


#: `total` and the like repeat what the other types say, and are left out.
_TYPES = {"input": "input", "output": "output"}

METERS: tuple[Meter, ...] = (
    Meter(name="gen_ai.client.token.usage", type_attribute="gen_ai.token.type", fields=_TYPES, counts_calls=True),
    Meter(name="gen_ai.client.inference.usage.input_tokens", fields={"": "input"}),
    Meter(name="gen_ai.client.inference.usage.output_tokens", fields={"": "output"}),
    Meter(name="gen_ai.client.inference.usage.cache_read.input_tokens", fields={"": "cache_read"}),
    Meter(name="gen_ai.client.inference.usage.cache_write.input_tokens", fields={"": "cache_write"}),
    Meter(name="gen_ai.client.inference.usage.reasoning.output_tokens", fields={"": "reasoning"}),
    Meter(name="gen_ai.client.inference.operation.input_tokens", fields={"": "input"}, counts_calls=True),
    Meter(name="gen_ai.client.inference.operation.output_tokens", fields={"": "output"}),
    Meter(name="gen_ai.client.operation.duration", fields={"": "seconds"}, counts_calls=True),
    Meter(name="gen_ai.client.inference.operation.duration", fields={"": "seconds"}, counts_calls=True),
    Meter(name="gen_ai.usage.cost", fields={"": "cost"}),
    Meter(name="operation.cost", fields={"": "cost"}),
    Meter(
        name="claude_code.token.usage", type_attribute="type",
        fields={**_TYPES, "cacheRead": "cache_read", "cacheCreation": "cache_write"},
    ),
    Meter(name="claude_code.cost.usage", fields={"": "cost"}),
    Meter(
        name="codex.turn.token_usage", type_attribute="token_type", counts_calls=True,
        fields={**_TYPES, "cached_input": "cache_read", "cache_write_input": "cache_write", "reasoning_output": "reasoning"},
    ),
    Meter(name="codex.turn.cost_microusd", fields={"": "cost_micros"}),
    Meter(
        name="gemini_cli.token.usage", type_attribute="type",
        fields={**_TYPES, "cache": "cache_read", "thought": "reasoning", "tool": "tool_prompt"},
    ),
    Meter(
        name="cursor.token.usage", type_attribute="cursor.token.type",
        fields={**_TYPES, "cache_read": "cache_read", "cache_creation": "cache_write"},
    ),
    Meter(name="cursor.cost.usage", fields={"": "cost"}),
    Meter(name="strands.event_loop.input.tokens", fields={"": "input"}, counts_calls=True),
    Meter(name="strands.event_loop.output.tokens", fields={"": "output"}),
    Meter(name="strands.event_loop.cache_read.input.tokens", fields={"": "cache_read"}),
    Meter(name="strands.event_loop.cache_write.input.tokens", fields={"": "cache_write"}),
)  # fmt: skip

BY_NAME: Mapping[str, Meter] = MappingProxyType({meter.name: meter for meter in METERS})

#: Attributes by which a point's token type is told.
TYPE_ATTRIBUTES: tuple[str, ...] = tuple(dict.fromkeys(meter.type_attribute for meter in METERS if meter.type_attribute))
