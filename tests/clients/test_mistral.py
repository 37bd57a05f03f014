"""Mistral through its own SDK: chat, agents, fill in the middle, conversations, embeddings, OCR."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.styles import CACHED, INPUT, MESSAGES, PROMPT, Spans, Style, gathered, raised, said, usage, waited

pytest.importorskip("mistralai")
# Version 2 moved it.
MOVED = bool(getattr(importlib.util.find_spec("mistralai.client"), "submodule_search_locations", None))
Mistral: Any = importlib.import_module("mistralai.client" if MOVED else "mistralai").Mistral

MODEL = "mistral-large-latest"
CUT = {"spanledger.stream.cut_short": True}
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
WHO = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "mistral_ai", "gen_ai.request.model": MODEL}
WHOLE = {**WHO, "gen_ai.response.model": MODEL, "gen_ai.response.finish_reasons": ("stop",)}
STREAMED = {**WHOLE, "gen_ai.request.stream": True}
TALK = {**WHO, "gen_ai.response.model": MODEL}
TALKED = {**CACHED, "spanledger.meter.searches": 2}


def use(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        with Mistral(api_key="any", server_url=url + "/mistral") as client:
            return what(client)

    return run


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        async def go() -> Any:
            async with Mistral(api_key="any", server_url=url + "/mistral") as client:
                return await what(client)

        return waited(go)

    return run


def cloud(name: str, what: Callable[[Any], Any], **more: Any) -> Callable[[str], Any]:
    """Its clients for Azure and for Google Cloud, which names the model in its address."""

    def run(url: str) -> Any:
        module = pytest.importorskip(f"mistralai.{name.lower()}.client")
        with getattr(module, f"Mistral{name}")(server_url=url + "/mistral", **more) as client:
            return what(client)

    return run


def managed(c: Any) -> Any:
    with c.chat.stream(**ASK) as stream:
        return list(stream)


def left_early(c: Any) -> Any:
    with c.chat.stream(**ASK) as stream:
        return next(iter(stream))


def parsed(c: Any) -> Any:
    from pydantic import BaseModel

    class Verdict(BaseModel):
        answer: str

    return raised(lambda: c.chat.parse(Verdict, **ASK))


async def async_plain(c: Any) -> Any:
    return await c.chat.complete_async(**ASK)


async def async_stream(c: Any) -> Any:
    return await gathered(await c.chat.stream_async(**ASK))


def talk(c: Any) -> Any:
    return c.beta.conversations.start(model=MODEL, inputs=PROMPT)


def talk_stream(c: Any) -> Any:
    return list(c.beta.conversations.start_stream(model=MODEL, inputs=PROMPT))


def talk_on(c: Any) -> Any:
    return c.beta.conversations.append(conversation_id="conv_1", inputs=PROMPT)


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: c.chat.complete(model=f"fail-{status}", messages=MESSAGES))


STYLES = [
    Style(
        name="plain",
        use=use(lambda c: c.chat.complete(**ASK, max_tokens=900, temperature=0.5)),
        said={**WHOLE, "gen_ai.request.max_tokens": 900, "gen_ai.request.temperature": 0.5},
        usage=CACHED,
    ),
    Style(name="stream", use=use(lambda c: list(c.chat.stream(**ASK))), said=STREAMED, usage=CACHED),
    Style(name="managed", use=use(managed), said=STREAMED, usage=CACHED),
    # The answer is no JSON, which the SDK says after the call.
    Style(name="parsed", use=use(parsed), said=WHOLE, usage=CACHED),
    Style(name="async plain", use=wait(async_plain), said=WHOLE, usage=CACHED),
    Style(name="async stream", use=wait(async_stream), said=STREAMED, usage=CACHED),
    Style(name="left early", use=use(left_early), said={**WHO, **CUT}, usage=None),
    Style(
        name="agent",
        use=use(lambda c: c.agents.complete(agent_id="ag:1", messages=MESSAGES)),
        said={**WHO, "gen_ai.request.model": "ag:1"},
        usage=CACHED,
    ),
    Style(
        name="fill in the middle",
        use=use(lambda c: c.fim.complete(model=MODEL, prompt=PROMPT)),
        said={**WHO, "gen_ai.operation.name": "text_completion"},
        usage=CACHED,
    ),
    Style(
        name="embeddings",
        use=use(lambda c: c.embeddings.create(model="mistral-embed", inputs=["[[input=100]]"])),
        said={"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "mistral-embed"},
        usage={**INPUT, "gen_ai.usage.output_tokens": 0},
    ),
    Style(
        name="pages",
        use=use(lambda c: c.ocr.process(model="mistral-ocr-latest", document={"type": "document_url", "document_url": "d"})),
        said={"gen_ai.operation.name": "ocr", "gen_ai.request.model": "mistral-ocr-latest"},
        usage={"spanledger.meter.pages": 3},
    ),
    *(
        Style(name=f"{name}{way}", use=cloud(name, what, **more), said=whole, usage=CACHED)
        for name, more in (("Azure", {"api_key": "any"}), ("GCP", {"access_token": "any", "project_id": "p"}))
        for way, what, whole in (
            ("", lambda c: c.chat.complete(**ASK), WHOLE),
            (" stream", lambda c: list(c.chat.stream(**ASK)), STREAMED),
        )
    ),
    Style(
        name="transcription",
        use=use(lambda c: c.audio.transcriptions.complete(model="voxtral-mini", file_url="https://a.test/b.mp3")),
        said={"gen_ai.operation.name": "transcription", "spanledger.meter.audio_seconds": 7},
        usage=None,
    ),
    Style(name="conversation", use=use(talk), said=TALK, usage=TALKED),
    Style(name="conversation stream", use=use(talk_stream), said={**TALK, "gen_ai.request.stream": True}, usage=TALKED),
    Style(name="conversation goes on", use=use(talk_on), usage=TALKED),
    *(
        Style(
            name=f"fails with {status}",
            use=use(failing(status)),
            error="3000",
        )
        for status in (429, 400, 500)
    ),
    Style(
        name="stream fails at once",
        use=use(lambda c: raised(lambda: c.chat.stream(model="fail-429", messages=MESSAGES))),
        error="429",
    ),
    Style(
        name="stream cut off",
        use=use(lambda c: raised(lambda: list(c.chat.stream(model="cut-stream", messages=MESSAGES)))),
        said=CUT,
        error="RemoteProtocolError",
    ),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_lists_of_models_are_no_calls(url: str, spans: Spans) -> None:
    with Mistral(api_key="any", server_url=url + "/mistral") as client:
        raised(lambda: client.models.list())
    assert spans.all() == []


@pytest.mark.skipif(not MOVED, reason="the SDK had no spans of its own")
def test_the_sdks_own_spans_are_silent_while_metered_and_come_back_after(
    url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spanledger.instrumentation import uninstrument

    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "global")
    plain, stream = STYLES[0].use, STYLES[1].use
    plain(url)
    assert said(spans.one())["gen_ai.provider.name"] == "mistral_ai"
    spans.clear()
    stream(url)
    assert usage(spans.one()) == CACHED
    uninstrument()
    spans.clear()
    plain(url)
    assert len(spans.all()) == 1
    assert (spans.one().instrumentation_scope or spans.one()).name != "spanledger.instrumentation"
