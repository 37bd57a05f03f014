"""Groq, Together, Cerebras and Fireworks through their own SDKs, which share one generated request layer."""

import gc
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.clients.styles import MESSAGES, REASONED, Spans, Style, gathered, raised, said, waited

#: (package, synchronous client, asynchronous client, provider, prefix of the path)
CLIENTS = [
    ("groq", "Groq", "AsyncGroq", "groq", "/groq"),
    ("together", "Together", "AsyncTogether", "together_ai", "/together"),
    ("cerebras.cloud.sdk", "Cerebras", "AsyncCerebras", "cerebras", "/cerebras"),
    ("fireworks", "Fireworks", "AsyncFireworks", "fireworks", "/fireworks"),
]
CUT = {"spanledger.stream.cut_short": True}
MODEL = "llama-3.3-70b"
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}


def _options(package: str, url: str, prefix: str) -> dict[str, Any]:
    options: dict[str, Any] = {"base_url": url + prefix, "api_key": "any", "max_retries": 0}
    if package.startswith("cerebras"):
        options["warm_tcp_connection"] = False
    return options


def _styles(package: str, name: str, async_name: str, provider: str, prefix: str) -> Iterator[Style]:
    def client(url: str) -> Any:
        return getattr(import_module(package), name)(**_options(package, url, prefix))

    def use(what: Callable[[Any], Any]) -> Callable[[str], Any]:
        def run(url: str) -> Any:
            with client(url) as opened:
                return what(opened)

        return run

    def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
        def run(url: str) -> Any:
            async def go() -> Any:
                async with getattr(import_module(package), async_name)(**_options(package, url, prefix)) as opened:
                    return await what(opened)

            return waited(go)

        return run

    def managed(c: Any) -> Any:
        with c.chat.completions.create(**ASK, stream=True) as stream:
            return list(stream)

    def raw(c: Any) -> Any:
        response = c.chat.completions.with_raw_response.create(**ASK)
        return [response.status_code, response.parse()]

    def streaming(c: Any) -> Any:
        with c.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
            return list(response.iter_lines())

    def left_early(c: Any) -> Any:
        with c.chat.completions.create(**ASK, stream=True) as stream:
            return next(iter(stream))

    def failing(status: int) -> Callable[[Any], Any]:
        return lambda c: raised(lambda: c.chat.completions.create(**{**ASK, "model": f"fail-{status}"}))

    def listening(method: str) -> Callable[[Any], Any]:
        return lambda c: getattr(c.audio, method).create(model="whisper", file=("a.wav", b"RIFF"))

    async def async_plain(c: Any) -> Any:
        return await c.chat.completions.create(**ASK)

    async def async_stream(c: Any) -> Any:
        return await gathered(await c.chat.completions.create(**ASK, stream=True))

    who = {"gen_ai.provider.name": provider, "gen_ai.request.model": MODEL, "gen_ai.operation.name": "chat"}
    whole = {**who, "gen_ai.response.model": MODEL, "gen_ai.response.finish_reasons": ("stop",)}
    plain: dict[str, Any] = {"said": whole, "usage": REASONED}
    streamed: dict[str, Any] = {"said": {**whole, "gen_ai.request.stream": True}, "usage": REASONED}
    yield Style(name="plain", use=use(lambda c: c.chat.completions.create(**ASK)), **plain)
    yield Style(name="stream", use=use(lambda c: list(c.chat.completions.create(**ASK, stream=True))), **streamed)
    yield Style(name="managed", use=use(managed), **streamed)
    yield Style(name="raw", use=use(raw), **plain)
    yield Style(name="streaming response", use=use(streaming), **streamed)
    yield Style(name="async plain", use=wait(async_plain), **plain)
    yield Style(name="async stream", use=wait(async_stream), **streamed)
    yield Style(name="left early", use=use(left_early), said={**who, **CUT}, usage=None)
    for status, kind in ((429, "rate_limit_exceeded"), (400, "invalid_value"), (500, "server_error")):
        yield Style(name=f"fails with {status}", use=use(failing(status)), error=kind)
    if package in ("groq", "together"):
        media = {"gen_ai.provider.name": provider, "gen_ai.request.model": "whisper"}
        for method, operation in (("transcriptions", "transcription"), ("translations", "translation")):
            yield Style(name=method, use=use(listening(method)), said={**media, "gen_ai.operation.name": operation}, usage=None)
        yield Style(
            name="speech",
            use=use(lambda c: c.audio.speech.create(model="whisper", voice="alloy", input="hello").read()),
            said={**media, "gen_ai.operation.name": "speech", "spanledger.meter.characters": 5},
            usage=None,
        )
    broken = {**ASK, "model": "cut-stream"}
    yield Style(
        name="stream cut off",
        use=use(lambda c: raised(lambda: list(c.chat.completions.create(**broken, stream=True)))),
        said=CUT,
        error="RemoteProtocolError",
    )


@pytest.mark.parametrize(
    ("package", "style"),
    [pytest.param(row[0], style, id=f"{row[3]}: {style}") for row in CLIENTS for style in _styles(*row)],
)
def test_every_style_is_one_span_and_changes_nothing(package: str, style: Style, metered: Callable[[Style], None]) -> None:
    client = pytest.importorskip(package)
    if style.name == "speech" and package == "groq" and not hasattr(client.resources.audio.Audio, "speech"):
        pytest.skip("this version of Groq's client cannot speak")
    metered(style)


@pytest.mark.parametrize("row", CLIENTS, ids=lambda row: str(row[3]))
def test_a_dropped_stream_ends_its_call(row: tuple[str, ...], url: str, spans: Spans) -> None:
    package = pytest.importorskip(row[0])
    with getattr(package, row[1])(**_options(row[0], url, row[4])) as client:
        stream = client.chat.completions.create(**ASK, stream=True)
        del stream
        gc.collect()
        assert said(spans.one())["spanledger.stream.cut_short"] is True
