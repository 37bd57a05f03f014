"""Whose a host is: who is paid when an SDK's `base_url` points elsewhere, in OpenTelemetry's spelling."""

from functools import lru_cache
from urllib.parse import urlsplit

#: Suffixes on a label boundary; the first that fits wins.
HOSTS: tuple[tuple[str, str], ...] = (
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("models.ai.azure.com", "azure.ai.inference"),
    ("inference.ai.azure.com", "azure.ai.inference"),
    ("openai.com", "openai"),
    ("anthropic.com", "anthropic"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.moonshot.cn", "moonshot_ai"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together_ai"),
    ("api.together.ai", "together_ai"),
    ("api.fireworks.ai", "fireworks"),
    ("api.cerebras.ai", "cerebras"),
    ("router.huggingface.co", "huggingface"),
    ("ml.cloud.ibm.com", "ibm.watsonx.ai"),
    ("models.github.ai", "github_models"),
    ("dashscope.aliyuncs.com", "dashscope"),
    ("dashscope-intl.aliyuncs.com", "dashscope"),
    ("api.z.ai", "z_ai"),
    ("api.deepinfra.com", "deepinfra"),
    ("integrate.api.nvidia.com", "nvidia"),
    ("api.sambanova.ai", "sambanova"),
)


@lru_cache(maxsize=1024)
def provider_of(host: str, port: int | None, default: str, named: tuple[tuple[str, str], ...] = ()) -> str:
    """Who answers at a host: as the user named it, else as known, else `default` (the client's own provider)."""
    host = host.lower()
    for name, provider in named:
        if name in (host, f"{host}:{port}"):
            return provider
    if ("amazonaws.com" in host and host.startswith("bedrock")) or host.endswith(".api.aws"):
        return "aws.bedrock"
    if host.endswith("-aiplatform.googleapis.com"):
        return "gcp.vertex_ai"
    for suffix, provider in HOSTS:
        if host == suffix or host.endswith("." + suffix):
            return provider
    # Ollama's own port; whoever has something else there can name it.
    if port == 11434 and host in ("localhost", "127.0.0.1", "::1"):
        return "ollama"
    return default


@lru_cache(maxsize=1024)
def address_of(origin: str) -> tuple[str, int | None]:
    """Host and port of a URL (to be given without its path: this is remembered)."""
    parts = urlsplit(origin if "//" in origin else f"//{origin}")
    return parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)


@lru_cache(maxsize=1024)
def takes_stream_options(host: str) -> bool:
    """Whether `stream_options.include_usage` may be added for the user: only hosts that are known to accept it.

    Azure's "on your data", old Azure API versions, vLLM and Databricks answer 400 to it.
    """
    return host == "api.openai.com" or host.endswith(".api.openai.com")
