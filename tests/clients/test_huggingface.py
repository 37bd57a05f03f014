"""Hugging Face InferenceClient: chat, text generation, embeddings, images."""

import gc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from tests.clients.styles import MESSAGES, PLAIN, PROMPT, REASONED, Spans, Style, gathered, raised, said, waited

huggingface_hub = pytest.importorskip("huggingface_hub")

CUT = {"spanledger.stream.cut_short": True}
WHO = {"gen_ai.provider.name": "huggingface", "server.address": "127.0.0.1"}
CHAT = {**WHO, "gen_ai.operation.name": "chat"}
MODEL = "meta-llama/Llama-3.3-70B-Instruct"
ASK: dict[str, Any] = {"messages": MESSAGES, "model": MODEL}
ASKED: dict[str, Any] = {**ASK, "stream_options": {"include_usage": True}}
WHOLE = {**CHAT, "gen_ai.request.model": MODEL, "gen_ai.response.finish_reasons": ("stop",)}


def opened(client: Any) -> Any:
    """Before version 1 a client is no context manager."""
    return client if hasattr(client, "__enter__") else nullcontext(client)


def use(what: Callable[[Any], Any], path: str = "/v1") -> Callable[[str], Any]:
    def run(url: str) -> Any:
        with opened(huggingface_hub.InferenceClient(base_url=url + path, api_key="any")) as client:
            return what(client)

    return run


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        async def go() -> Any:
            async with huggingface_hub.AsyncInferenceClient(base_url=url + "/v1", api_key="any") as client:
                return await what(client)

        return waited(go)

    return run


def task(what: Callable[[Any, str], Any]) -> Callable[[str], Any]:
    """The model is the address of a server of one's own."""

    def run(url: str) -> Any:
        with opened(huggingface_hub.InferenceClient(token="any", provider="hf-inference")) as client:
            return what(client, url + "/huggingface")

    return run


def left_early(c: Any) -> Any:
    for chunk in c.chat_completion(**ASK, stream=True):
        return chunk
    raise AssertionError


async def async_plain(c: Any) -> Any:
    return await c.chat_completion(**ASK)


async def async_stream(c: Any) -> Any:
    return await gathered(await c.chat_completion(**ASKED, stream=True))


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: c.chat_completion(MESSAGES, model=f"fail-{status}"))


STYLES = [
    Style(
        name="plain",
        use=use(lambda c: c.chat_completion(**ASK, max_tokens=900, temperature=0.5)),
        said={**WHOLE, "gen_ai.request.max_tokens": 900, "gen_ai.request.temperature": 0.5},
        usage={**REASONED},
    ),
    Style(name="as OpenAI's", use=use(lambda c: c.chat.completions.create(**ASK)), said=WHOLE, usage=REASONED),
    Style(
        name="stream",
        use=use(lambda c: list(c.chat_completion(**ASKED, stream=True))),
        said={**WHOLE, "gen_ai.request.stream": True},
        usage=REASONED,
    ),
    Style(name="left early", use=use(left_early), said={**CHAT, **CUT}, usage=None),
    Style(name="async plain", use=wait(async_plain), said=WHOLE, usage=REASONED),
    Style(name="async stream", use=wait(async_stream), said=WHOLE, usage=REASONED),
    Style(
        name="text with details",
        use=task(lambda c, url: c.text_generation(PROMPT, model=url, details=True)),
        said={**WHO, "gen_ai.operation.name": "text_completion", "gen_ai.response.finish_reasons": ("eos_token",)},
        usage=PLAIN,
    ),
    Style(
        name="text stream with details",
        use=task(lambda c, url: list(c.text_generation(PROMPT, model=url, details=True, stream=True))),
        said={**WHO, "gen_ai.operation.name": "text_completion", "gen_ai.request.stream": True},
        usage=PLAIN,
    ),
    Style(
        name="speech",
        use=task(lambda c, url: c.text_to_speech("hello", model=url + "/speech")),
        said={"gen_ai.operation.name": "speech"},
        usage={"spanledger.meter.characters": 5},
    ),
    Style(
        name="embeddings",
        use=task(lambda c, url: c.feature_extraction("hello", model=url + "/embed").tolist()),
        said={"gen_ai.operation.name": "embeddings", "spanledger.tokens.estimated": True},
        usage=None,
    ),
    Style(
        name="image",
        use=task(lambda c, url: raised(lambda: c.text_to_image("a cat", model=url + "/image"))),
        said={**WHO, "gen_ai.operation.name": "image_generation"},
        usage={"spanledger.meter.images": 1},
    ),
    *(
        Style(
            name=f"fails with {status}",
            use=use(failing(status)),
            error=str(status),
        )
        for status in (429, 400, 500)
    ),
    Style(
        name="stream cut off",
        use=use(lambda c: raised(lambda: list(c.chat_completion(MESSAGES, model="cut-stream", stream=True)))),
        said=CUT,
        error="RemoteProtocolError" if hasattr(huggingface_hub.InferenceClient, "__enter__") else "ChunkedEncodingError",
    ),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_stream_that_is_dropped_ends_its_call(url: str, spans: Spans) -> None:
    with opened(huggingface_hub.InferenceClient(base_url=url + "/v1", api_key="any")) as client:
        stream = client.chat_completion(**ASK, stream=True)
        del stream
        gc.collect()
        assert said(spans.one())["spanledger.stream.cut_short"] is True
