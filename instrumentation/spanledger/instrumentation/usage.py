"""What a call consumed, in OpenTelemetry's meaning, and the attributes that say so."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any


@dataclass(slots=True, kw_only=True)  # frozen, its construction would take twice as long
class Usage:
    """Tokens as the provider counted them; None is "not said", never zero. Shared once it is made, and not changed then.

    `input` includes cache reads and writes, `output` includes reasoning; the others are "of which".
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    input_image: int | None = None
    output_image: int | None = None

    def plus(self, more: "Usage") -> "Usage":
        """Both together; what only one of them says is as it says."""
        sums: dict[str, int | None] = {}
        for one in fields(self):
            mine, other = getattr(self, one.name), getattr(more, one.name)
            sums[one.name] = mine if other is None else (mine or 0) + other
        return Usage(**sums)

    def put(self, attributes: dict[str, Any]) -> None:
        """Add the span attributes that say it; details are left out where they are zero."""
        if self.input is not None:
            attributes["gen_ai.usage.input_tokens"] = self.input
        if self.output is not None:
            attributes["gen_ai.usage.output_tokens"] = self.output
        if self.cache_read:
            attributes["gen_ai.usage.cache_read.input_tokens"] = self.cache_read
        if self.cache_write:
            attributes["gen_ai.usage.cache_write.input_tokens"] = self.cache_write
            if self.cache_write_5m is not None:
                attributes["anthropic.usage.cache_creation.ephemeral_5m_input_tokens"] = self.cache_write_5m
            if self.cache_write_1h is not None:
                attributes["anthropic.usage.cache_creation.ephemeral_1h_input_tokens"] = self.cache_write_1h
        if self.reasoning:
            attributes["gen_ai.usage.reasoning.output_tokens"] = self.reasoning
        if self.input_audio:
            attributes["gen_ai.usage.audio.input_tokens"] = self.input_audio
        if self.output_audio:
            attributes["gen_ai.usage.audio.output_tokens"] = self.output_audio
        if self.input_image:
            attributes["gen_ai.usage.image.input_tokens"] = self.input_image
        if self.output_image:
            attributes["gen_ai.usage.image.output_tokens"] = self.output_image


def view(of: Any) -> Mapping[str, Any]:
    """The fields of a client's object, or the JSON it came from, as a mapping that is only to be looked at.

    Asking a pydantic model for an attribute it lacks costs microseconds, and a stream asks for each of its events.
    """
    if type(of) is dict:
        return of
    try:
        extra = of.__pydantic_extra__
    except AttributeError:
        extra = None
    fields: dict[str, Any] = of.__dict__
    return {**fields, **extra} if extra else fields


def field(of: Any, name: str) -> Any:
    """The value of a field of a client's object, or of the JSON it came from; None where it is absent."""
    if type(of) is dict:
        return of.get(name)
    return getattr(of, name, None)


#: What an object that is not there says.
NOTHING: Mapping[str, Any] = MappingProxyType({})


def whole(value: Any) -> int | None:
    """A value as a count; None where it is not one."""
    return value if type(value) is int and value >= 0 else None


def count(of: Any, name: str) -> int | None:
    """A field as a count; None where it is absent or not a count."""
    value = of.get(name) if type(of) is dict else getattr(of, name, None)
    return value if type(value) is int and value >= 0 else None
