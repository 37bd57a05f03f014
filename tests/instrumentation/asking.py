"""What the tests ask the stand-in, and what it is known to answer."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

DIRECTED = "Say something. [[input=100 cache_read=60 cache_write=20 cache_write_1h=5 output=40 reasoning=10]]"
MESSAGES: list[Any] = [{"role": "user", "content": DIRECTED}]

OPENAI_USAGE = {
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 40,
    "gen_ai.usage.cache_read.input_tokens": 60,
    "gen_ai.usage.cache_write.input_tokens": 20,
    "gen_ai.usage.reasoning.output_tokens": 10,
}
ANTHROPIC_USAGE = {
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 40,
    "gen_ai.usage.cache_read.input_tokens": 60,
    "gen_ai.usage.cache_write.input_tokens": 20,
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 15,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 5,
}


def reach(client: Any, path: str) -> Any:
    """A method of a client by its dotted path; the test is skipped where this version of the SDK does not have it yet."""
    for name in path.split("."):
        client = getattr(client, name, None)
        if client is None:
            pytest.skip(f"this version of the SDK has no {path}")
    return client


def usage(span: ReadableSpan) -> dict[str, Any]:
    """What the span says was used."""
    return {name: value for name, value in said(span).items() if "usage" in name}


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
