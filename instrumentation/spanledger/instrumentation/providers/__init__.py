"""Every client that is metered; adding one is adding a file and a line here."""

from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers import (
    anthropic,
    azure_inference,
    bedrock,
    cerebras,
    cohere,
    fireworks,
    google_genai,
    groq,
    huggingface,
    litellm,
    mistral,
    ollama,
    openai,
    together,
    voyage,
    xai,
)

PROVIDERS: tuple[Provider, ...] = (
    openai.PROVIDER,
    anthropic.PROVIDER,
    google_genai.PROVIDER,
    bedrock.PROVIDER,
    mistral.PROVIDER,
    cohere.PROVIDER,
    groq.PROVIDER,
    together.PROVIDER,
    fireworks.PROVIDER,
    cerebras.PROVIDER,
    xai.PROVIDER,
    ollama.PROVIDER,
    huggingface.PROVIDER,
    voyage.PROVIDER,
    azure_inference.PROVIDER,
    litellm.PROVIDER,
)
