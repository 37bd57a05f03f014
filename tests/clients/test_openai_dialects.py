"""Providers that are reached through the openai SDK's `base_url`: who is paid, and where each of them puts its usage."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.styles import CACHED, MESSAGES, PLAIN, REASONED, Style

openai = pytest.importorskip("openai")

MODEL = "a-model"
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}

#: (prefix of the path, provider, usage plain, usage streamed); with `stream_options` where a provider wants to be asked.
DIALECTS: list[tuple[str, str, dict[str, Any]]] = [
    ("groq", "groq", REASONED),
    ("deepseek", "deepseek", REASONED),
    ("moonshot", "moonshot_ai", CACHED),
    ("perplexity", "perplexity", {**PLAIN, "gen_ai.usage.cost": 0.008, "spanledger.meter.searches": 3}),
    ("xai", "x_ai", {**REASONED, "spanledger.meter.searches": 2}),
    ("openrouter", "openrouter", {**REASONED, "gen_ai.usage.cost": 0.00042}),
    ("together", "together_ai", REASONED),
    ("cerebras", "cerebras", REASONED),
]


def _styles(prefix: str, usage: dict[str, Any]) -> list[Style]:
    def client(url: str) -> Any:
        return openai.OpenAI(base_url=f"{url}/{prefix}/v1", api_key="any", max_retries=0)

    def plain(url: str) -> Any:
        with client(url) as opened:
            return opened.chat.completions.create(**ASK)

    def stream(url: str) -> Any:
        with client(url) as opened:
            return list(opened.chat.completions.create(**ASK, stream=True))

    def helped(url: str) -> Any:
        with client(url) as opened, opened.chat.completions.stream(**ASK) as events:
            return [event.type for event in events]

    return [Style(name=use.__name__, use=use, usage=usage) for use in (plain, stream, helped)]


@pytest.mark.parametrize(
    "style",
    [pytest.param(style, id=f"{prefix}: {style}") for prefix, _, usage in DIALECTS for style in _styles(prefix, usage)],
)
def test_the_usage_is_found_wherever_it_stands_and_nothing_changes(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


@pytest.mark.parametrize(
    ("address", "provider"),
    [
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.moonshot.ai/v1", "moonshot_ai"),
        ("https://api.perplexity.ai", "perplexity"),
        ("https://api.x.ai/v1", "x_ai"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "gcp.gemini"),
        ("https://someone.else.example/v1", "openai"),
    ],
)
@pytest.mark.usefixtures("spans")
def test_who_is_paid_is_told_by_the_host(address: str, provider: str) -> None:
    from spanledger.instrumentation.engine import ENGINE
    from spanledger.instrumentation.providers.openai import ask

    options = openai._models.FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=ASK, headers={})
    asked = ask(openai.OpenAI(base_url=address, api_key="any"), (object, options), {}, ENGINE.settings)
    assert asked is not None
    assert asked.provider == provider
