"""Stands in for the providers on loopback: the demo and the tests call it through the real SDKs.

    with start() as provider:
        client = openai.OpenAI(base_url=provider.url + "/v1", api_key="any")

`usage_of(body)` says beforehand which tokens a request will be reported with.
"""

from spanledger.cli.provider_stand_in import (
    anthropic_wire,
    bedrock_wire,
    cohere_wire,
    dialects_wire,
    gemini_wire,
    huggingface_wire,
    mistral_wire,
    ollama_wire,
    openai_media_wire,
    openai_responses_wire,
    openai_wire,
    realtime_wire,
    voyage_wire,
)
from spanledger.cli.provider_stand_in.server import StandIn
from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of

#: The first that knows a request answers it.
SPEAKERS = (
    dialects_wire.answer,
    mistral_wire.answer,
    huggingface_wire.answer,
    voyage_wire.answer,
    bedrock_wire.answer,
    gemini_wire.answer,
    cohere_wire.answer,
    ollama_wire.answer,
    openai_wire.answer,
    openai_responses_wire.answer,
    openai_media_wire.answer,
    anthropic_wire.answer,
)

__all__ = ["StandIn", "StandInUsage", "start", "usage_of"]


def start(*, port: int = 0, pause_seconds: float = 0.0, think_seconds: float = 0.0, answered_before: int = 0) -> StandIn:
    """Start one that speaks every wire format it knows, on a thread of its own."""
    return StandIn(
        SPEAKERS,
        port=port,
        pause_seconds=pause_seconds,
        think_seconds=think_seconds,
        answered_before=answered_before,
        conversations=(realtime_wire.converse,),
    )
