"""Google GenAI through its own SDK, on the Gemini API and on Vertex AI."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.styles import INPUT, PROMPT, REASONED, Spans, Style, gathered, raised, usage, waited

genai = pytest.importorskip("google.genai")

MODEL = "gemini-2.5-flash"
CUT = {"spanledger.stream.cut_short": True}
WHO = {
    "gen_ai.operation.name": "generate_content",
    "gen_ai.provider.name": "gcp.gemini",
    "gen_ai.request.model": MODEL,
    "server.address": "127.0.0.1",
}
WHOLE = {**WHO, "gen_ai.response.model": f"{MODEL}-001", "gen_ai.response.finish_reasons": ("STOP",)}
STREAMED = {**WHOLE, "gen_ai.request.stream": True}
EMBEDDED = {**INPUT, "gen_ai.usage.output_tokens": 0}


def client(url: str) -> Any:
    return genai.Client(api_key="any", http_options={"base_url": url})


def vertex(url: str) -> Any:
    options = {"base_url": url}
    credentials = pytest.importorskip("google.auth.credentials").AnonymousCredentials
    made = genai.Client(vertexai=True, project="p", location="europe-west4", credentials=credentials(), http_options=options)
    made._api_client._access_token = lambda: "any"
    return made


def use(what: Callable[[Any], Any], make: Callable[[str], Any] = client) -> Callable[[str], Any]:
    return lambda url: what(make(url))


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        async def go() -> Any:
            made = client(url)
            try:
                return await what(made.aio)
            finally:
                close = getattr(made.aio, "aclose", None)
                if close is not None:
                    await close()

        return waited(go)

    return run


def weather() -> str:
    """Tells the weather."""
    return "rain"


def chat(c: Any) -> Any:
    talk = c.chats.create(model=MODEL)
    return [talk.send_message(PROMPT), list(talk.send_message_stream(PROMPT))]


def automatic_call(c: Any) -> Any:
    return c.models.generate_content(model=MODEL, contents=PROMPT, config={"tools": [weather]})


def left_early(c: Any) -> Any:
    for chunk in c.models.generate_content_stream(model=MODEL, contents=PROMPT):
        return chunk
    raise AssertionError


async def async_plain(c: Any) -> Any:
    return await c.models.generate_content(model=MODEL, contents=PROMPT)


async def async_stream(c: Any) -> Any:
    return await gathered(await c.models.generate_content_stream(model=MODEL, contents=PROMPT))


async def async_left_early(c: Any) -> Any:
    stream = await c.models.generate_content_stream(model=MODEL, contents=PROMPT)
    async for chunk in stream:
        await stream.aclose()
        return chunk
    raise AssertionError


def plain(c: Any, model: str = MODEL, **config: Any) -> Any:
    return c.models.generate_content(model=model, contents=PROMPT, **({"config": config} if config else {}))


def stream(c: Any, model: str = MODEL) -> Any:
    return list(c.models.generate_content_stream(model=model, contents=PROMPT))


def broken(c: Any) -> Any:
    """Before version 2 the client passes over the error."""
    try:
        return stream(c, "error-stream")
    except genai.errors.APIError as error:
        return error


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: plain(c, f"fail-{status}"))


STYLES = [
    Style(name="plain", use=use(plain), said=WHOLE, usage=REASONED),
    Style(
        name="with parameters",
        use=use(lambda c: plain(c, temperature=0.5, max_output_tokens=900)),
        said={**WHOLE, "gen_ai.request.temperature": 0.5, "gen_ai.request.max_tokens": 900},
        usage=REASONED,
    ),
    Style(name="stream", use=use(stream), said=STREAMED, usage=REASONED),
    Style(name="chat", use=use(chat), said=WHOLE, usage=REASONED, spans=2),
    Style(name="automatic function call", use=use(automatic_call), said=WHOLE, usage=REASONED, spans=2),
    Style(name="async plain", use=wait(async_plain), said=WHOLE, usage=REASONED),
    Style(name="async stream", use=wait(async_stream), said=STREAMED, usage=REASONED),
    Style(name="left early", use=use(left_early), said={**WHO, **CUT}, usage=None),
    Style(name="async left early", use=wait(async_left_early), said={**WHO, **CUT}, usage=None),
    Style(
        name="embeddings",
        use=use(lambda c: c.models.embed_content(model="gemini-embedding-001", contents=PROMPT)),
        said={"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "gemini-embedding-001"},
        usage=EMBEDDED,
    ),
    Style(
        name="on Vertex",
        use=use(plain, vertex),
        said={**WHOLE, "gen_ai.provider.name": "gcp.vertex_ai", "cloud.region": "europe-west4"},
        usage=REASONED,
    ),
    Style(name="streamed on Vertex", use=use(stream, vertex), said={"gen_ai.provider.name": "gcp.vertex_ai"}, usage=REASONED),
    Style(
        name="embeddings on Vertex",
        use=use(lambda c: c.models.embed_content(model="text-embedding-005", contents=PROMPT), vertex),
        said={"gen_ai.operation.name": "embeddings", "gen_ai.provider.name": "gcp.vertex_ai"},
        usage=EMBEDDED,
    ),
    Style(
        name="images on Vertex",
        use=use(
            lambda c: c.models.generate_images(model="imagen-4.0", prompt="a cat", config={"number_of_images": 2}), vertex
        ),
        said={"gen_ai.operation.name": "image_generation", "gen_ai.request.model": "imagen-4.0"},
        usage={"spanledger.meter.images": 2},
    ),
    *(
        Style(name=f"fails with {status}", use=use(failing(status)), error=kind)
        for status, kind in ((429, "RESOURCE_EXHAUSTED"), (400, "INVALID_ARGUMENT"), (500, "INTERNAL"))
    ),
    Style(
        name="stream fails at once", use=use(lambda c: raised(lambda: stream(c, "fail-429"))), error="RESOURCE_EXHAUSTED"
    ),
    Style(
        name="stream fails in the middle", use=use(broken), said=CUT,
        error="INTERNAL", usage=None,
    ),
]  # fmt: skip


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_a_request_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_stream_that_is_never_read_sends_nothing_and_is_no_call(url: str, spans: Spans) -> None:
    made = client(url)
    unread = made.models.generate_content_stream(model=MODEL, contents=PROMPT)
    del unread
    gc.collect()
    assert spans.all() == []


def test_counting_tokens_is_no_call(url: str, spans: Spans) -> None:
    made = client(url)
    made.models.count_tokens(model=MODEL, contents=PROMPT)
    assert spans.all() == []


def test_audio_and_images_in_the_prompt_are_of_which(url: str, spans: Spans) -> None:
    prompt = "[[input=100 audio=30 images=20 output=40]]"
    made = client(url)
    made.models.generate_content(model=MODEL, contents=prompt)
    assert usage(spans.one()) == {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.audio.input_tokens": 30,
        "gen_ai.usage.image.input_tokens": 20,
    }


def test_no_call_is_kept_alive(url: str, spans: Spans) -> None:
    from spanledger.instrumentation.call import open_calls

    made = client(url)
    for _ in range(20):
        stream(made)
        left_early(made)
    spans.clear()
    gc.collect()
    assert len(open_calls) == 0
