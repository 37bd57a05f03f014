"""Azure AI Inference through its own SDK: chat completions and embeddings."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.styles import INPUT, MESSAGES, REASONED, Spans, Style, gathered, raised, said, waited

inference = pytest.importorskip("azure.ai.inference")

MODEL = "Llama-3.3-70B-Instruct"
CUT = {"spanledger.stream.cut_short": True}
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
ASKED: dict[str, Any] = {**ASK, "model_extras": {"stream_options": {"include_usage": True}}}
WHO = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "azure.ai.inference", "gen_ai.request.model": MODEL}
WHOLE = {**WHO, "gen_ai.response.model": MODEL, "gen_ai.response.finish_reasons": ("stop",)}


def _key() -> Any:
    return pytest.importorskip("azure.core.credentials").AzureKeyCredential("any")


def use(what: Callable[[Any], Any], kind: str = "ChatCompletionsClient", **more: Any) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        with getattr(inference, kind)(endpoint=url, credential=_key(), retry_total=0, **more) as client:
            return what(client)

    return run


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        kind = pytest.importorskip("azure.ai.inference.aio").ChatCompletionsClient

        async def go() -> Any:
            async with kind(endpoint=url, credential=_key(), retry_total=0) as client:
                return await what(client)

        return waited(go)

    return run


def managed(c: Any) -> Any:
    with c.complete(**ASKED, stream=True) as stream:
        return list(stream)


def left_early(c: Any) -> Any:
    with c.complete(**ASK, stream=True) as stream:
        return next(stream)


async def async_plain(c: Any) -> Any:
    return await c.complete(**ASK)


async def async_stream(c: Any) -> Any:
    return await gathered(await c.complete(**ASKED, stream=True))


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: c.complete(model=f"fail-{status}", messages=MESSAGES))


STYLES = [
    Style(
        name="plain",
        use=use(lambda c: c.complete(**ASK, max_tokens=900, temperature=0.5)),
        said={**WHOLE, "gen_ai.request.max_tokens": 900, "gen_ai.request.temperature": 0.5},
        usage=REASONED,
    ),
    Style(name="as JSON", use=use(lambda c: c.complete(ASK)), said=WHOLE, usage=REASONED),
    Style(name="model of the client", use=use(lambda c: c.complete(messages=MESSAGES), model=MODEL), said=WHOLE, usage=REASONED),
    Style(
        name="stream",
        use=use(lambda c: list(c.complete(**ASKED, stream=True))),
        said={**WHOLE, "gen_ai.request.stream": True},
        usage=REASONED,
    ),
    Style(name="managed", use=use(managed), said=WHOLE, usage=REASONED),
    Style(name="left early", use=use(left_early), said={**WHO, **CUT}, usage=None),
    Style(name="async plain", use=wait(async_plain), said=WHOLE, usage=REASONED),
    Style(name="async stream", use=wait(async_stream), said=WHOLE, usage=REASONED),
    Style(
        name="embeddings",
        use=use(lambda c: c.embed(input=["[[input=100]]"], model="embed"), "EmbeddingsClient"),
        said={"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "embed"},
        usage={**INPUT, "gen_ai.usage.output_tokens": 0},
    ),
    *(
        Style(
            name=f"fails with {status}",
            use=use(failing(status)),
            error=kind,
        )
        for status, kind in ((429, "rate_limit_exceeded"), (400, "invalid_value"))
    ),
    Style(
        name="stream cut off",
        use=use(lambda c: raised(lambda: list(c.complete(model="cut-stream", messages=MESSAGES, stream=True)))),
        said=CUT,
        error="HttpResponseError",
    ),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_dropped_stream_ends_its_call(url: str, spans: Spans) -> None:
    with inference.ChatCompletionsClient(endpoint=url, credential=_key()) as client:
        stream = client.complete(**ASK, stream=True)
        del stream
        gc.collect()
        assert said(spans.one())["spanledger.stream.cut_short"] is True
