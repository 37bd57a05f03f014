"""Cohere through its own SDK, both versions of its API: what is billed is counted."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.styles import CACHED, INPUT, MESSAGES, PLAIN, PROMPT, Spans, Style, gathered, raised, said, waited

cohere = pytest.importorskip("cohere")

MODEL = "command-a-03-2025"
CUT = {"spanledger.stream.cut_short": True}
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
OLD: dict[str, Any] = {"model": MODEL, "message": PROMPT}
WHO = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "cohere", "gen_ai.request.model": MODEL}
WHOLE = {**WHO, "gen_ai.response.finish_reasons": ("COMPLETE",)}
STREAMED = {**WHOLE, "gen_ai.request.stream": True}
ONCE: dict[str, Any] = {"request_options": {"max_retries": 0}}
EMBEDDED = {**INPUT, "gen_ai.usage.output_tokens": 0}


def use(what: Callable[[Any], Any], kind: str = "ClientV2") -> Callable[[str], Any]:
    return lambda url: what(getattr(cohere, kind)(api_key="any", base_url=url))


def wait(what: Callable[[Any], Any], kind: str = "AsyncClientV2") -> Callable[[str], Any]:
    def run(url: str) -> Any:
        async def go() -> Any:
            return await what(getattr(cohere, kind)(api_key="any", base_url=url))

        return waited(go)

    return run


def left_early(c: Any) -> Any:
    for event in c.chat_stream(**ASK):
        return event
    raise AssertionError


async def async_plain(c: Any) -> Any:
    return await c.chat(**ASK)


async def async_stream(c: Any) -> Any:
    return await gathered(c.chat_stream(**ASK))


async def async_old_stream(c: Any) -> Any:
    return await gathered(c.chat_stream(**OLD))


def embed(c: Any) -> Any:
    return c.embed(model="embed-v4.0", texts=["[[input=100]]"], input_type="search_document", embedding_types=["float"])


def rerank(c: Any) -> Any:
    return c.rerank(model="rerank-v3.5", query="which?", documents=["a", "b"])


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: c.chat(model=f"fail-{status}", messages=MESSAGES, **ONCE))


STYLES = [
    Style(
        name="plain",
        use=use(lambda c: c.chat(**ASK, max_tokens=900, temperature=0.5)),
        said={**WHOLE, "gen_ai.request.max_tokens": 900, "gen_ai.request.temperature": 0.5},
        usage=CACHED,
    ),
    Style(name="stream", use=use(lambda c: list(c.chat_stream(**ASK))), said=STREAMED, usage=CACHED),
    Style(name="left early", use=use(left_early), said={**WHO, **CUT}, usage=None),
    Style(name="async plain", use=wait(async_plain), said=WHOLE, usage=CACHED),
    Style(name="async stream", use=wait(async_stream), said=STREAMED, usage=CACHED),
    Style(name="v1 plain", use=use(lambda c: c.chat(**OLD), "Client"), said=WHOLE, usage=PLAIN),
    Style(name="v1 stream", use=use(lambda c: list(c.chat_stream(**OLD)), "Client"), said=STREAMED, usage=PLAIN),
    Style(name="v1 async stream", use=wait(async_old_stream, "AsyncClient"), said=STREAMED, usage=PLAIN),
    Style(
        name="embeddings",
        use=use(embed),
        said={"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "embed-v4.0"},
        usage=EMBEDDED,
    ),
    Style(
        name="v1 embeddings",
        use=use(lambda c: c.embed(texts=["[[input=100]]"], model="embed-english-v3.0", input_type="search_query"), "Client"),
        said={"gen_ai.operation.name": "embeddings"},
        usage=EMBEDDED,
    ),
    Style(
        name="rerank",
        use=use(rerank),
        said={"gen_ai.operation.name": "rerank", "gen_ai.request.model": "rerank-v3.5"},
        usage={"spanledger.meter.searches": 1},
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
        name="stream fails at once",
        use=use(lambda c: raised(lambda: list(c.chat_stream(model="fail-429", messages=MESSAGES, **ONCE)))),
        error="429",
    ),
    Style(
        name="stream ends with an error",
        use=use(lambda c: list(c.chat_stream(model="error-stream", messages=MESSAGES))),
        error="error",
    ),
    Style(
        name="stream cut off",
        use=use(lambda c: raised(lambda: list(c.chat_stream(model="cut-stream", messages=MESSAGES)))),
        said=CUT,
        error="RemoteProtocolError",
    ),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_batch_of_embeddings_is_one_call_for_each_request_that_is_made(url: str, spans: Spans) -> None:
    client = cohere.Client(api_key="any", base_url=url)
    client.embed(texts=["[[input=100]]"] * 200, model="embed-english-v3.0", input_type="search_query", batching=True)
    assert len(spans.all()) == 3
    assert {said(span)["gen_ai.usage.input_tokens"] for span in spans.all()} == {100}


def test_a_call_that_is_tried_again_is_one_call(url: str, spans: Spans) -> None:
    client = cohere.ClientV2(api_key="any", base_url=url)
    options: dict[str, Any] = {"request_options": {"max_retries": 1}}
    raised(lambda: client.chat(model="fail-500", messages=MESSAGES, **options))
    assert said(spans.one())["error.type"] == "500"


def test_a_stream_that_is_never_read_sends_nothing_and_is_no_call(url: str, spans: Spans) -> None:
    stream = cohere.ClientV2(api_key="any", base_url=url).chat_stream(**ASK)
    del stream
    gc.collect()
    assert spans.all() == []
