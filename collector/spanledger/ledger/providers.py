"""Who is paid, as an entry's `provider` spells it: OpenTelemetry's word for each spelling that emitters and people use."""

import re
from collections.abc import Mapping
from functools import lru_cache

_PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "openai": (
        "openai",
        "openai.chat",
        "openai.responses",
        "openai.embedding",
        "openai.completion",
        "openai-chat",
        "text-completion-openai",
    ),
    "anthropic": ("anthropic", "anthropic.messages", "firstparty"),
    "gcp.gemini": ("gcp.gemini", "gemini", "google_genai", "google-gla"),
    "gcp.gen_ai": ("gcp.gen_ai", "google", "google.generative-ai", "gcp.vertex.agent", "googleai"),
    "gcp.vertex_ai": (
        "gcp.vertex_ai",
        "vertex_ai",
        "vertexai",
        "google.vertex",
        "google.vertex.chat",
        "vertex",
        "google-vertex",
        "google-cloud",
        "vertex_ai_beta",
    ),
    "aws.bedrock": ("aws.bedrock", "aws_bedrock", "aws", "bedrock", "amazon-bedrock", "amazon_bedrock", "bedrock_converse"),
    "azure.ai.openai": ("azure.ai.openai", "az.ai.openai", "azure", "azure_openai", "azure-openai", "azure_text"),
    "azure.ai.inference": ("azure.ai.inference", "az.ai.inference", "azure_ai"),
    "mistral_ai": ("mistral_ai", "mistral", "mistralai"),
    "x_ai": ("x_ai", "xai", "grok"),
    "moonshot_ai": ("moonshot_ai", "moonshot", "moonshotai"),
    "ibm.watsonx.ai": ("ibm.watsonx.ai", "watsonx", "ibm"),
    "cohere": ("cohere", "cohere_chat"),
    "together": ("together", "together_ai", "togetherai"),
    "fireworks": ("fireworks", "fireworks_ai"),
    **{name: (name,) for name in ("perplexity", "deepseek", "groq", "cerebras", "openrouter")},
}
#: Spelling → the ledger's.
CANONICAL: Mapping[str, str] = {alias: name for name, aliases in _PROVIDERS.items() for alias in aliases}

#: Frameworks and gateways that put their own name where the provider's belongs.
_NOT_PROVIDERS = frozenset((
    "strands-agents", "microsoft.agent_framework", "langchain", "langgraph", "crewai", "spring_ai", "github",
    "litellm", "ag2", "autogen", "llamaindex", "llama_index", "haystack",
))  # fmt: skip

_MODELS: tuple[tuple[str, str], ...] = (
    (r"^((us|eu|apac|jp|au|global)\.)?(anthropic|amazon|meta|cohere|mistral|ai21)\.", "aws.bedrock"),
    (r"claude", "anthropic"),
    (r"^(gpt|chatgpt|o[134](-|$)|text-embedding-|davinci|babbage|whisper|tts-|dall-e|omni-moderation|codex|sora)", "openai"),
    (r"gemini|^gemma|^text-embedding-00|^imagen|^veo", "gcp.gen_ai"),
    (r"mistral|mixtral|codestral|ministral|pixtral|magistral", "mistral_ai"),
    (r"^(command|embed-|rerank-)", "cohere"),
    (r"deepseek", "deepseek"),
    (r"^grok", "x_ai"),
    (r"^sonar", "perplexity"),
    (r"kimi|moonshot", "moonshot_ai"),
)


@lru_cache(maxsize=65_536)
def provider(named: str) -> str | None:
    """OpenTelemetry's spelling of a provider; None for what is no provider."""
    plain = named.strip().lower()
    if plain in _NOT_PROVIDERS or not plain:
        return None
    return CANONICAL.get(plain) or CANONICAL.get(plain.split(".", 1)[0]) or plain[:128]


@lru_cache(maxsize=65_536)
def provider_of_model(model: str) -> str | None:
    """The provider whose model this is, by its name."""
    plain = model.lower().rsplit("/", 1)[-1]
    return next((name for pattern, name in _MODELS if re.search(pattern, plain)), None)


@lru_cache(maxsize=65_536)
def payee(named: str | None, model: str | None) -> str | None:
    """Who is paid for a call of which only these names are known."""
    found = None if named is None else provider(named)
    return found or (None if model is None else provider_of_model(model))
