"""Ollama through its own client: plain and streamed, and through the functions of its module."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.styles import INPUT, MESSAGES, PLAIN, PROMPT, Spans, Style, gathered, raised, waited

ollama = pytest.importorskip("ollama")

MODEL = "llama3.2:3b"
CUT = {"spanledger.stream.cut_short": True}
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
WHO = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "ollama", "gen_ai.request.model": MODEL}
WHOLE = {**WHO, "gen_ai.response.model": MODEL, "gen_ai.response.finish_reasons": ("stop",)}
STREAMED = {**WHOLE, "gen_ai.request.stream": True}
GENERATED = {**WHOLE, "gen_ai.operation.name": "text_completion"}


def use(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    return lambda url: what(ollama.Client(host=url))


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        async def go() -> Any:
            return await what(ollama.AsyncClient(host=url))

        return waited(go)

    return run


def left_early(c: Any) -> Any:
    for part in c.chat(**ASK, stream=True):
        return part
    raise AssertionError


async def async_plain(c: Any) -> Any:
    return await c.chat(**ASK)


async def async_stream(c: Any) -> Any:
    return await gathered(await c.chat(**ASK, stream=True))


async def async_left_early(c: Any) -> Any:
    stream = await c.chat(**ASK, stream=True)
    async for part in stream:
        await stream.aclose()
        return part
    raise AssertionError


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: c.chat(model=f"fail-{status}", messages=MESSAGES))


STYLES = [
    Style(
        name="plain",
        use=use(lambda c: c.chat(**ASK, options={"num_predict": 900, "temperature": 0.5})),
        said={**WHOLE, "gen_ai.request.max_tokens": 900, "gen_ai.request.temperature": 0.5},
        usage=PLAIN,
    ),
    Style(name="stream", use=use(lambda c: list(c.chat(**ASK, stream=True))), said=STREAMED, usage=PLAIN),
    Style(name="generate", use=use(lambda c: c.generate(model=MODEL, prompt=PROMPT)), said=GENERATED, usage=PLAIN),
    Style(
        name="generate stream",
        use=use(lambda c: list(c.generate(model=MODEL, prompt=PROMPT, stream=True))),
        said=GENERATED,
        usage=PLAIN,
    ),
    Style(
        name="embeddings",
        use=use(lambda c: c.embed(model="nomic-embed-text", input=PROMPT)),
        said={"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "nomic-embed-text"},
        usage={**INPUT, "gen_ai.usage.output_tokens": 0},
    ),
    Style(name="async plain", use=wait(async_plain), said=WHOLE, usage=PLAIN),
    Style(name="async stream", use=wait(async_stream), said=STREAMED, usage=PLAIN),
    Style(name="left early", use=use(left_early), said={**WHO, **CUT}, usage=None),
    Style(name="async left early", use=wait(async_left_early), said={**WHO, **CUT}, usage=None),
    *(
        Style(
            name=f"fails with {status}",
            use=use(failing(status)),
            error=str(status),
        )
        for status in (429, 404, 500)
    ),
    Style(
        name="stream fails at once",
        use=use(lambda c: raised(lambda: list(c.chat(model="fail-404", messages=MESSAGES, stream=True)))),
        error="404",
    ),
    Style(
        name="stream fails in the middle",
        use=use(lambda c: raised(lambda: list(c.chat(model="error-stream", messages=MESSAGES, stream=True)))),
        said=CUT,
        error="ResponseError",
    ),
    Style(
        name="stream cut off",
        use=use(lambda c: raised(lambda: list(c.chat(model="cut-stream", messages=MESSAGES, stream=True)))),
        said=CUT,
        error="RemoteProtocolError",
    ),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_method_that_was_taken_before_metering_began_is_metered(url: str, spans: Spans) -> None:
    from spanledger.instrumentation import instrument, uninstrument

    uninstrument()
    chat = ollama.Client(host=url).chat
    instrument()
    chat(**ASK)
    spans.one()


def test_a_stream_that_is_never_read_sends_nothing_and_is_no_call(url: str, spans: Spans) -> None:
    stream = ollama.Client(host=url).chat(**ASK, stream=True)
    del stream
    gc.collect()
    assert spans.all() == []
