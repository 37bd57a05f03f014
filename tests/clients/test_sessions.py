"""Sessions over WebSocket through the real SDKs: each answer on a connection is a call, and the application sees the same."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from spanledger.instrumentation import LimitExceeded, instrument
from tests.clients.styles import CACHED, REASONED, Spans, Style, said, usage, waited
from tests.instrumentation.check_api import CheckApi

openai = pytest.importorskip("openai")
pytest.importorskip("websockets.sync.client")
if not hasattr(openai.OpenAI, "realtime"):
    pytest.skip("this version of the SDK has no realtime sessions", allow_module_level=True)

PROMPT = "Say something. [[input=100 cache_read=60 output=40]]"
HEARD = {"gen_ai.usage.input_tokens": 26, "gen_ai.usage.output_tokens": 8, "gen_ai.usage.audio.input_tokens": 26}


def _says(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def realtime(*prompts: str) -> Callable[[str], Any]:
    def use(url: str) -> Any:
        events = []
        with (
            openai.OpenAI(base_url=url + "/v1", api_key="any") as client,
            client.realtime.connect(model="gpt-realtime") as session,
        ):
            events.append(session.recv())
            for prompt in prompts:
                session.conversation.item.create(item=_says(prompt))
                session.response.create()
                events.append(session.recv())
                while events[-1].type != "response.done":
                    events.append(session.recv())
        return events

    return use


def async_realtime(url: str) -> Any:
    async def go() -> Any:
        events = []
        async with (
            openai.AsyncOpenAI(base_url=url + "/v1", api_key="any") as client,
            client.realtime.connect(model="gpt-realtime") as session,
        ):
            await session.conversation.item.create(item=_says(PROMPT))
            await session.response.create()
            async for event in session:
                events.append(event)
                if event.type == "response.done":
                    break
        return events

    return waited(go)


def raw(url: str) -> Any:
    with openai.OpenAI(base_url=url + "/v1", api_key="any") as client, client.realtime.connect(model="gpt-realtime") as session:
        session.send({"type": "conversation.item.create", "item": _says(PROMPT)})
        session.send({"type": "response.create"})
        received: list[bytes] = []
        while not received or b"response.done" not in received[-1]:
            received.append(session.recv_bytes())
        return received


def left(url: str) -> Any:
    with openai.OpenAI(base_url=url + "/v1", api_key="any") as client, client.realtime.connect(model="gpt-realtime") as session:
        session.conversation.item.create(item=_says("[[never]]"))
        session.response.create()
        return [session.recv().type, session.recv().type, session.recv().type]


def transcribed(url: str) -> Any:
    with openai.OpenAI(base_url=url + "/v1", api_key="any") as client, client.realtime.connect(model="gpt-realtime") as session:
        session.input_audio_buffer.commit()
        return [session.recv(), session.recv()]


def responses(url: str) -> Any:
    with openai.OpenAI(base_url=url + "/v1", api_key="any") as client:
        if not hasattr(client.responses, "connect"):
            pytest.skip("this version of the SDK has no responses over WebSocket")
        with client.responses.connect() as session:
            received = []
            for _ in range(2):
                session.response.create(model="gpt-4o", input=PROMPT)
                received += [session.recv(), session.recv()]
            return received


SAID = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-realtime", "gen_ai.operation.name": "chat"}
STYLES = [
    Style(name="realtime", use=realtime(PROMPT), usage=CACHED, said=SAID),
    Style(name="two turns", use=realtime(PROMPT, PROMPT), usage=CACHED, said=SAID, spans=2),
    Style(name="async realtime", use=async_realtime, usage=CACHED, said=SAID),
    Style(name="raw bytes", use=raw, usage=CACHED, said=SAID),
    Style(name="failed", use=realtime(PROMPT + " [[fail]]"), usage=CACHED, said=SAID, error="rate_limit_exceeded"),
    Style(name="left early", use=left, said={**SAID, "spanledger.stream.cut_short": True}),
    Style(name="transcribed", use=transcribed, usage=HEARD, said={"gen_ai.request.model": "gpt-4o-mini-transcribe"}),
    Style(name="responses", use=responses, usage=CACHED, said={"gen_ai.response.model": "gpt-4o"}, spans=2),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_each_answer_of_a_session_is_one_span_and_nothing_changes(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_connection_that_is_dropped_ends_what_had_begun_on_it(url: str, spans: Spans) -> None:
    client = openai.OpenAI(base_url=url + "/v1", api_key="any")
    manager = client.realtime.connect(model="gpt-realtime")
    session = manager.enter()
    session.conversation.item.create(item=_says("[[never]]"))
    session.response.create()
    while session.recv().type != "response.created":
        pass
    assert spans.all() == []
    session.close()
    del session, manager
    gc.collect()
    assert said(spans.one())["spanledger.stream.cut_short"] is True


def test_a_session_is_not_asked_of_the_guard(url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the provider begins by itself cannot be refused."""
    with CheckApi(allowed=0) as api:
        monkeypatch.setenv("SPANLEDGER_GUARD", "1")
        monkeypatch.setenv("SPANLEDGER_API", api.url)
        instrument()
        try:
            realtime(PROMPT)(url)
        except LimitExceeded:
            pytest.fail("refused in the middle of a session")
    assert usage(spans.one()) == CACHED


def live(url: str) -> Any:
    genai = pytest.importorskip("google.genai")

    async def go() -> Any:
        # Only where it has no credentials does the client take an address that is not encrypted.
        options = {"base_url": url.replace("http", "ws"), "headers": {"Authorization": "any"}}
        client = genai.Client(vertexai=True, http_options=options)
        client._api_client._websocket_ssl_ctx = {}  # nothing is encrypted here
        messages = []
        async with client.aio.live.connect(model="gemini-live-2.5-flash", config={"response_modalities": ["TEXT"]}) as session:
            for _ in range(3):
                await session.send_client_content(
                    turns={"role": "user", "parts": [{"text": "[[input=100 cache_read=60 output=40 reasoning=10]]"}]}
                )
                messages += [message async for message in session.receive()]
            return messages

    return waited(go)


def test_each_turn_of_a_live_session_is_one_span_with_the_usage_of_the_turn(metered: Callable[[Style], None]) -> None:
    told = {"gen_ai.provider.name": "gcp.vertex_ai", "gen_ai.request.model": "gemini-live-2.5-flash"}
    metered(Style(name="live", use=live, usage=REASONED, said=told, spans=3))
