"""LiteLLM: where it speaks with a provider itself, and where it goes through a client that is metered."""

import inspect
import os
from collections.abc import Callable
from typing import Any

import pytest

from spanledger.instrumentation import LimitExceeded, instrument, uninstrument
from tests.clients.styles import (
    CACHED,
    INPUT,
    MESSAGES,
    PLAIN,
    PROMPT,
    REASONED,
    WRITING,
    WRITTEN,
    Spans,
    Style,
    gathered,
    raised,
    waited,
)
from tests.instrumentation.check_api import CheckApi

# Otherwise it asks the internet for prices when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
litellm = pytest.importorskip("litellm")

WRITES: list[Any] = [{"role": "user", "content": WRITING}]
KEPT = {
    **WRITTEN,
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 15,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 5,
}
AWS = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "aws_region_name": "eu-west-1"}
CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"


def _where(model: str, url: str) -> dict[str, Any]:
    kind = model.partition("/")[0]
    if kind == "bedrock":
        return {"aws_bedrock_runtime_endpoint": url, **AWS}
    paths = {
        "openai": "/v1",
        "mistral": "/mistral/v1",
        "groq": "/groq/openai/v1",
        "deepseek": "/deepseek",
        "anthropic": "/v1/messages",
        "ollama": "",
        "ollama_chat": "",
        "cohere_chat": "/v2/chat",
        "gemini": f"/v1beta/models/{model.partition('/')[2]}:generateContent",
    }
    return {"api_base": url + paths[kind], "api_key": "any"}


def plain(model: str, messages: Any = MESSAGES) -> Callable[[str], Any]:
    return lambda url: litellm.completion(model=model, messages=messages, max_retries=0, **_where(model, url))


def stream(model: str, messages: Any = MESSAGES) -> Callable[[str], Any]:
    return lambda url: [
        chunk.model_dump()["choices"]
        for chunk in litellm.completion(model=model, messages=messages, stream=True, max_retries=0, **_where(model, url))
    ]


def async_plain(model: str, messages: Any = MESSAGES) -> Callable[[str], Any]:
    return lambda url: waited(lambda: litellm.acompletion(model=model, messages=messages, max_retries=0, **_where(model, url)))


def async_stream(model: str, messages: Any = MESSAGES) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        async def go() -> Any:
            made = await litellm.acompletion(model=model, messages=messages, stream=True, max_retries=0, **_where(model, url))
            return [chunk.model_dump()["choices"] for chunk in await gathered(made)]

        return waited(go)

    return run


def says(provider: str, model: str) -> dict[str, Any]:
    return {"gen_ai.provider.name": provider, "gen_ai.request.model": model}


def embed(url: str) -> Any:
    return litellm.embedding(model="openai/text-embedding-3-small", input=[PROMPT], api_base=url + "/v1", api_key="any")


AT_HOME = says("anthropic", "claude-sonnet-4-5")
STYLES = [
    # Through the openai SDK, whose span it is.
    Style(
        name="OpenAI", use=plain("openai/gpt-4o", WRITES), said=says("openai", "gpt-4o"),
        usage={**CACHED, "gen_ai.usage.cache_write.input_tokens": 20},
    ),
    Style(name="async OpenAI", use=async_plain("openai/gpt-4o"), said=says("openai", "gpt-4o"), usage=REASONED),
    # By itself.
    Style(name="Anthropic", use=plain("anthropic/claude-sonnet-4-5", WRITES), said=AT_HOME, usage=KEPT),
    Style(name="Anthropic stream", use=stream("anthropic/claude-sonnet-4-5", WRITES), said=AT_HOME, usage=KEPT),
    Style(name="async Anthropic", use=async_plain("anthropic/claude-sonnet-4-5", WRITES), said=AT_HOME, usage=KEPT),
    Style(name="async Anthropic stream", use=async_stream("anthropic/claude-sonnet-4-5", WRITES), said=AT_HOME, usage=KEPT),
    Style(name="Bedrock", use=plain(f"bedrock/{CLAUDE}", WRITES), said=says("aws.bedrock", CLAUDE), usage=KEPT),
    Style(name="Bedrock stream", use=stream(f"bedrock/{CLAUDE}", WRITES), said=says("aws.bedrock", CLAUDE), usage=KEPT),
    Style(name="Gemini", use=plain("gemini/gemini-2.5-flash"), said=says("gcp.gemini", "gemini-2.5-flash"), usage=REASONED),
    Style(name="Mistral", use=plain("mistral/mistral-large"), said=says("mistral_ai", "mistral-large"), usage=CACHED),
    Style(name="Groq", use=plain("groq/llama-3.3-70b-versatile"), said=says("groq", "llama-3.3-70b-versatile"), usage=REASONED),
    Style(name="DeepSeek", use=plain("deepseek/deepseek-chat"), said=says("deepseek", "deepseek-chat"), usage=REASONED),
    Style(name="Cohere", use=plain("cohere_chat/command-a-03-2025"), said=says("cohere", "command-a-03-2025"), usage=CACHED),
    Style(name="Ollama", use=plain("ollama_chat/llama3.2"), said=says("ollama", "llama3.2"), usage=PLAIN),
    Style(name="Ollama stream", use=stream("ollama_chat/llama3.2"), said=says("ollama", "llama3.2"), usage=PLAIN),
    Style(
        name="embeddings",
        use=embed,
        said={**says("openai", "text-embedding-3-small"), "gen_ai.operation.name": "embeddings"},
        usage={**INPUT, "gen_ai.usage.output_tokens": 0},
    ),
    Style(
        name="Anthropic fails with 429",
        use=lambda url: type(raised(lambda: plain("anthropic/fail-429")(url))).__name__,
        error="429",
        said=says("anthropic", "fail-429"),
    ),
    Style(
        name="Bedrock fails with 400",
        use=lambda url: type(raised(lambda: plain("bedrock/converse/fail-400")(url))).__name__,
        error="400",
    ),
]  # fmt: skip


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_way_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", f"bedrock/{CLAUDE}"]
)
@pytest.mark.parametrize("way", [plain, stream, async_plain, async_stream], ids=lambda way: way.__name__)
def test_a_refusal_comes_out_as_it_was_raised(
    way: Callable[[str], Callable[[str], Any]], model: str, url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckApi(allowed=0) as api:
        monkeypatch.setenv("SPANLEDGER_GUARD", "1")
        monkeypatch.setenv("SPANLEDGER_API", api.url)
        monkeypatch.setenv("SPANLEDGER_GUARD_TIMEOUT_MS", "30000")
        instrument()
        with pytest.raises(LimitExceeded) as caught:
            way(model)(url)
        assert caught.value.limit == "acme a day"
        assert spans.all() == []


def test_its_functions_are_what_they_were_when_metering_ends(spans: Spans) -> None:
    assert hasattr(litellm.completion, "__spanledger_original__")
    assert inspect.iscoroutinefunction(litellm.acompletion)
    uninstrument()
    for module in (litellm, litellm.main):
        assert not hasattr(module.completion, "__spanledger_original__")
        assert not hasattr(module.acompletion, "__spanledger_original__")
