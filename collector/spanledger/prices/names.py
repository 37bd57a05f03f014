"""How telemetry spells providers and models → how the book does.

Nothing here guesses across models: what is stripped is a path, a routing suffix or a prefix that repeats the
provider, and the name as it was sent is always tried first.
"""

import re
from collections.abc import Iterator

from spanledger.prices.regions import GOVCLOUD, place_of

#: Spellings of providers in telemetry → genai-prices' id. The values of `gen_ai.provider.name` and the older
#: `gen_ai.system`, LiteLLM's, OpenInference's and the Vercel AI SDK's. What is absent is tried as it stands.
PROVIDERS: dict[str, str] = {
    "amazon-bedrock": "aws", "amazon_bedrock": "aws", "aws.bedrock": "aws", "aws_bedrock": "aws", "bedrock": "aws",
    "bedrock_converse": "aws", "amazon": "aws",
    "az.ai.inference": "azure", "az.ai.openai": "azure", "azure": "azure", "azure.ai.inference": "azure",
    "azure.ai.openai": "azure", "azure_ai": "azure", "azure_openai": "azure", "azure-openai": "azure",
    "azure.openai": "azure", "microsoft.foundry": "azure", "azure_ai_inference": "azure", "azureopenai": "azure",
    "chatgpt": "openai", "openai": "openai", "openai-chat": "openai", "openai-responses": "openai", "openai.chat": "openai",
    "openai.responses": "openai", "text-completion-openai": "openai",
    "anthropic": "anthropic", "anthropic.messages": "anthropic", "claude": "anthropic",
    "cohere_chat": "cohere", "cohere": "cohere",
    "deepseek": "deepseek", "fireworks_ai": "fireworks", "fireworks-ai": "fireworks", "fireworks.ai": "fireworks",
    "fireworks": "fireworks",
    "gcp": "google", "gcp.gemini": "google", "gcp.gen_ai": "google", "gcp.vertex_ai": "google", "gemini": "google",
    "google": "google", "google-gla": "google", "google-vertex": "google", "google.generative-ai": "google",
    "google.vertex": "google", "google_genai": "google", "google_vertexai": "google", "vertex": "google",
    "vertex_ai": "google", "vertexai": "google", "vertex_ai_beta": "google", "google.vertex.anthropic": "google",
    "vertex.anthropic": "google", "palm": "google",
    "groq": "groq", "mistral": "mistral", "mistral_ai": "mistral", "mistralai": "mistral", "mistral.chat": "mistral",
    "moonshot": "moonshotai", "moonshot_ai": "moonshotai", "moonshotai": "moonshotai", "openrouter": "openrouter",
    "perplexity": "perplexity", "together": "together", "together_ai": "together", "together.ai": "together",
    "togetherai": "together", "voyage": "voyageai", "voyageai": "voyageai",
    "x-ai": "x-ai", "x.ai": "x-ai", "x_ai": "x-ai", "xai": "x-ai", "xai.chat": "x-ai",
    "z-ai": "zai", "z.ai": "zai", "zai": "zai", "zhipu": "zhipuai", "zhipuai": "zhipuai",
}  # fmt: skip

#: What names of models in AWS GovCloud begin with.
GOV = "us-gov."

#: What OpenRouter does besides, said at the end of a name: it searches the web, or sends the call to a host that it chooses by
#: speed, price, quality or length.
_ROUTES = frozenset({"nitro", "floor", "exacto", "extended"})
_ONLINE = "online"
_ROUTING = re.compile(rf"(?::(?:{'|'.join(sorted({_ONLINE, *_ROUTES}))}))+$")
#: xAI's words for a stage and a way of answering, which its price list leaves out; both ways cost the same.
_XAI_BETA = re.compile(r"-beta(?=-|$)")
_XAI_REASONING = re.compile(r"-(?:non-)?reasoning(?:-latest)?$")
_PATHS = (
    re.compile(r"^(?:projects/[^/]+/)?(?:locations/[^/]+/)?publishers/[^/]+/models/"),
    re.compile(r"^(?:models|tunedmodels|model|foundation-model)/"),
)
#: Prefixes that repeat the provider, by the book's id.
_REPEATS: dict[str, tuple[str, ...]] = {
    "aws": ("bedrock/", "aws/", "amazon-bedrock/", "converse/", "bedrock/converse/"),
    "azure": ("azure/", "azure_ai/", "azure-openai/", "azure/eu/", "azure/us/", "azure/global/", "azure/global-standard/"),
    "google": ("gemini/", "vertex_ai/", "google/", "vertex/", "google-vertex/", "google-gla/"),
    "x-ai": ("xai/", "x-ai/", "x_ai/"), "together": ("together_ai/", "together/"),
    "fireworks": ("fireworks_ai/", "fireworks/"), "moonshotai": ("moonshot/", "moonshotai/"),
    "mistral": ("mistral/", "mistralai/"), "voyageai": ("voyage/", "voyageai/"),
}  # fmt: skip


#: A model by the quality and size of what it makes: `hd/1024x1024/dall-e-3`, as LiteLLM's map names it.
_OF_SIZE = re.compile(r"^(?:[a-z_-]+/)?\d+x\d+/(?P<model>.+)$")


def of_size(model: str) -> str | None:
    """The model that a name with a size in front of it speaks of; None where there is none."""
    found = _OF_SIZE.match(model.lower())
    return found["model"] if found else None


def varied(variant: str, model: str) -> Iterator[str]:
    """What a model is called by quality and size, the narrowest first. Who is not told a quality makes the standard one."""
    quality, _, size = variant.rpartition("/")
    yield f"{variant}/{model}"
    if size and quality:
        yield f"{size}/{model}"
    elif size:
        yield f"standard/{size}/{model}"


def provider_id(provider: str) -> str:
    """The book's id for a provider as telemetry spells it; the spelling itself, lowered, when there is no entry."""
    spelled = provider.strip().lower()
    return PROVIDERS.get(spelled, spelled)


def routed(model: str) -> tuple[str, ...]:
    """Flags of a name at OpenRouter that says what is done besides: what that costs is in no price list."""
    words = set(model.strip().lower().split(":")[1:])
    online, elsewhere = _ONLINE in words, not words.isdisjoint(_ROUTES)
    return (("online_search",) if online else ()) + (("route_assumed",) if elsewhere else ())


def in_govcloud(provider: str, model: str) -> str:
    """What a model is called there, where telemetry has the region apart from the name; an ARN has its own."""
    if model.lower().startswith("arn:"):
        return model
    *_, (plain, _) = spellings(provider, model)
    return f"{GOV}anthropic.{plain}" if plain.startswith("claude") else f"{GOV}{plain}"


def spellings(provider: str, model: str, variant: str = "") -> Iterator[tuple[str, bool]]:
    """The names to try in turn, each with whether it was changed: first as sent, then without path and prefixes; and before
    all of these, where quality and size of what was made are known, with them in front.

    `provider` is the book's id. A fine-tuned model keeps its `ft:` and never becomes its base.
    """
    name = model.strip()
    names = list(dict.fromkeys([name, *(changed for changed in _plainer(provider, name) if changed)]))
    if variant:
        yield from ((of_variant, False) for plain in names for of_variant in varied(variant, plain.lower()))
    yield from ((spelled, spelled != name) for spelled in names)


def _plainer(provider: str, name: str) -> Iterator[str]:
    lowered = name.lower()
    if lowered.startswith("arn:"):
        resource = name.split(":", 5)[-1] if name.count(":") >= 5 else name
        # An application profile, a provisioned or an imported model has an id that says nothing about its price.
        if resource.startswith(("foundation-model/", "inference-profile/")):
            plain = resource.split("/", 1)[1].lower()
            if place_of(name.split(":")[3]) == GOVCLOUD:
                yield in_govcloud(provider, plain)
            yield plain
            yield plain.removeprefix(GOV)
        return
    for path in _PATHS:
        stripped = path.sub("", lowered)
        if stripped != lowered:
            yield stripped
            lowered = stripped
    for prefix in sorted((f"{provider}/", *_REPEATS.get(provider, ())), key=len, reverse=True):
        if lowered.startswith(prefix):
            lowered = lowered.removeprefix(prefix)
            yield lowered
            break
    if provider == "aws" and lowered.startswith(GOV):
        yield lowered.removeprefix(GOV)
    if provider == "openrouter":
        straight = _ROUTING.sub("", lowered)
        if straight != lowered:
            yield straight
    if provider == "x-ai":
        released = _XAI_BETA.sub("", lowered)
        for plain in (released, _XAI_REASONING.sub("", lowered), _XAI_REASONING.sub("", released)):
            if plain != lowered and plain != "grok":
                yield plain
    if provider == "azure":
        for region in ("eu/", "us/", "global/", "global-standard/"):
            if lowered.startswith(region):
                yield lowered.removeprefix(region)
