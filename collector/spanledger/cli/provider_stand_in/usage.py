"""What a call to the stand-in consumes: a pure function of its request, so that a caller can state the totals beforehand.

A prompt may direct the figures: `[[input=1000 cache_read=600 cache_write=100 cache_write_1h=40 output=50 reasoning=20]]`
anywhere in its text. What is not directed is derived from the size of the prompt.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_DIRECTED = re.compile(r"\[\[([a-z_0-9= ]+)\]\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInUsage:
    """Tokens in OpenTelemetry's meaning: `input` includes the cached ones, `output` includes reasoning."""

    input: int
    output: int
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio: int = 0
    images: int = 0

    @property
    def cache_write(self) -> int:
        return self.cache_write_5m + self.cache_write_1h


def texts(value: Any) -> Iterable[str]:
    """Every piece of text inside a request's messages, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key in ("text", "content", "input", "parts", "contents", "messages", "system", "prompt", "message"):
            if key in value:
                yield from texts(value[key])
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


def usage_of(body: Mapping[str, Any]) -> StandInUsage:
    """The usage that the stand-in reports for a request with this JSON body, whatever its wire format.

    Derived: four characters make a token, every message adds four; the answer has 16 tokens and one more for each
    ten of the prompt, at most `max_tokens` (or its newer names).
    """
    prompt = " ".join(texts(body))
    directed = {name: int(value) for name, value in _directions(prompt)}
    count = directed.get("input")
    if count is None:
        spoken = next((body[name] for name in ("messages", "input", "contents") if isinstance(body.get(name), list)), [prompt])
        count = -(-len(prompt) // 4) + 4 * len(spoken)
    output = directed.get("output", 16 + count // 10)
    caps = [_cap(body), *(_cap(body.get(name)) for name in ("generationConfig", "inferenceConfig", "options"))]
    for cap in caps:
        output = min(output, cap) if cap is not None else output
    write = directed.get("cache_write", 0)
    hour = min(directed.get("cache_write_1h", 0), write)
    return StandInUsage(
        input=count,
        output=output,
        cache_read=directed.get("cache_read", 0),
        cache_write_5m=write - hour,
        cache_write_1h=hour,
        reasoning=min(directed.get("reasoning", 0), output),
        audio=directed.get("audio", 0),
        images=directed.get("images", 0),
    )


def _directions(prompt: str) -> Iterable[tuple[str, str]]:
    for match in _DIRECTED.finditer(prompt):
        for word in match.group(1).split():
            name, _, value = word.partition("=")
            if value.isdigit():
                yield name, value


def _cap(body: Any) -> int | None:
    if not isinstance(body, Mapping):
        return None
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens", "num_predict"):
        if isinstance(body.get(name), int):
            return int(body[name])
    return None
