"""xAI through its own SDK over gRPC, which emits spans of its own."""

import datetime
import gc
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from spanledger.instrumentation import LimitExceeded, instrument
from tests.clients.styles import PROMPT, REASONED, Spans, Style, check, gathered, raised, said, waited
from tests.instrumentation.check_api import CheckApi

xai_sdk = pytest.importorskip("xai_sdk")

from spanledger.cli.provider_stand_in.xai_grpc import COST_TICKS, XaiStandIn  # noqa: E402

MODEL = "grok-4"
CUT = {"spanledger.stream.cut_short": True}
WHO = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "x_ai", "gen_ai.request.model": MODEL}
WHOLE = {**WHO, "gen_ai.response.model": "grok-4-0709", "gen_ai.response.finish_reasons": ("REASON_STOP",)}
STREAMED = {**WHOLE, "gen_ai.request.stream": True}
COST = COST_TICKS * 1e-10
USED: dict[str, Any] = {**REASONED, "spanledger.meter.searches": 2}
if "cost_in_usd_ticks" in import_module("xai_sdk.proto").usage_pb2.SamplingUsage.DESCRIPTOR.fields_by_name:
    USED["gen_ai.usage.cost"] = COST


@pytest.fixture(scope="module")
def server() -> Iterator[XaiStandIn]:
    with XaiStandIn() as stand_in:
        yield stand_in


def _options(address: str) -> dict[str, Any]:
    return {"api_key": "any", "api_host": address, "use_insecure_channel": True, "timeout": 30}


def _chat(client: Any, model: str = MODEL, **more: Any) -> Any:
    user = pytest.importorskip("xai_sdk.chat").user
    chat = client.chat.create(model=model, **more)
    chat.append(user(PROMPT))
    return chat


def use(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(address: str) -> Any:
        client = xai_sdk.Client(**_options(address))
        try:
            return what(client)
        finally:
            close = getattr(client, "close", None)
            if close is not None:
                close()

    return run


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(address: str) -> Any:
        async def go() -> Any:
            client = xai_sdk.AsyncClient(**_options(address))
            result = await what(client)
            close = getattr(client, "close", None)
            if close is not None:
                await close()
            return result

        return waited(go)

    return run


def _proto(answered: Any) -> Any:
    """As text: an answer accumulates, so each is told when it is there."""
    return str(answered.proto)


def plain(c: Any, model: str = MODEL, **more: Any) -> Any:
    return _proto(_chat(c, model, **more).sample())


def stream(c: Any, model: str = MODEL) -> Any:
    return [[_proto(answered), _proto(chunk)] for answered, chunk in _chat(c, model).stream()]


def left_early(c: Any) -> Any:
    for answered, _ in _chat(c).stream():
        return _proto(answered)
    raise AssertionError


def parse(c: Any) -> Any:
    from pydantic import BaseModel

    class Verdict(BaseModel):
        answer: str
        score: int

    answered, verdict = _chat(c).parse(Verdict)
    return [_proto(answered), verdict.score]


def defer(c: Any) -> Any:
    return _proto(_chat(c).defer(interval=datetime.timedelta(milliseconds=10)))


def several(c: Any) -> Any:
    return [_proto(answered) for answered in _chat(c).sample_batch(2)]


async def async_plain(c: Any) -> Any:
    return _proto(await _chat(c).sample())


async def async_stream(c: Any) -> Any:
    return [_proto(chunk) for _, chunk in await gathered(_chat(c).stream())]


STYLES = [
    Style(
        name="plain",
        use=use(lambda c: plain(c, max_tokens=900, temperature=0.5)),
        said={**WHOLE, "gen_ai.request.max_tokens": 900, "gen_ai.request.temperature": 0.5},
        usage=USED,
    ),
    Style(name="stream", use=use(stream), said=STREAMED, usage=USED),
    Style(name="parsed", use=use(parse), said=WHOLE, usage=USED),
    Style(name="deferred", use=use(defer), said=WHOLE, usage=USED),
    Style(name="several", use=use(several), said={**WHO, "gen_ai.request.choice.count": 2}, usage=USED),
    Style(name="async plain", use=wait(async_plain), said=WHOLE, usage=USED),
    Style(name="async stream", use=wait(async_stream), said=STREAMED, usage=USED),
    Style(name="left early", use=use(left_early), said={**WHO, **CUT}, usage=None),
    Style(name="fails with 429", use=use(lambda c: raised(lambda: plain(c, "fail-429"))), error="RESOURCE_EXHAUSTED"),
    Style(name="fails with 400", use=use(lambda c: raised(lambda: plain(c, "fail-400"))), error="INVALID_ARGUMENT"),
    Style(
        name="stream fails in the middle",
        use=use(lambda c: raised(lambda: stream(c, "error-stream"))),
        said=CUT,
        error="UNAVAILABLE",
    ),
]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(
    style: Style, server: XaiStandIn, metered: Callable[[Style], None], spans: Spans
) -> None:
    check(style, server.address, spans)


def test_the_sdks_own_spans_come_back_when_metering_ends(server: XaiStandIn, spans: Spans) -> None:
    from spanledger.instrumentation import uninstrument

    use(plain)(server.address)
    assert said(spans.one())["gen_ai.provider.name"] == "x_ai"
    uninstrument()
    spans.clear()
    use(plain)(server.address)
    assert [span.name for span in spans.all()] == ["chat.sample grok-4"]


def test_a_stream_that_is_never_read_sends_nothing_and_is_no_call(server: XaiStandIn, spans: Spans) -> None:
    unread = _chat(xai_sdk.Client(**_options(server.address))).stream()
    del unread
    gc.collect()
    assert spans.all() == []


@pytest.mark.parametrize("call", [lambda chat: chat.sample(), lambda chat: list(chat.stream())], ids=["sample", "stream"])
def test_the_guard_stands_before_it_and_another_model_may_be_named(
    call: Callable[[Any], Any], server: XaiStandIn, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckApi(refused=(MODEL,)) as api:
        monkeypatch.setenv("SPANLEDGER_GUARD", "1")
        monkeypatch.setenv("SPANLEDGER_API", api.url)
        monkeypatch.setenv("SPANLEDGER_GUARD_TIMEOUT_MS", "30000")
        instrument()
        with pytest.raises(LimitExceeded):
            use(lambda client: call(_chat(client)))(server.address)
        instrument(on_limit=lambda refusal, model: "grok-4-mini")
        chats: list[Any] = []

        def ask(client: Any) -> None:
            chats.append(_chat(client))
            call(chats[0])

        use(ask)(server.address)
        assert [question["model"] for question in api.asked] == [MODEL, MODEL, "grok-4-mini"]
        assert api.asked[0]["input_tokens"] >= 20
    span = said(spans.one())
    assert (span["gen_ai.request.model"], span["spanledger.model.instead_of"]) == ("grok-4-mini", MODEL)
    # The application's own object still asks for what it was made for.
    assert chats[0].proto.model == MODEL


@pytest.mark.parametrize("call", [lambda chat: chat.sample(), lambda chat: list(chat.stream())], ids=["sample", "stream"])
def test_what_was_said_is_recorded_when_asked_for(
    call: Callable[[Any], Any], server: XaiStandIn, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    instrument()
    use(lambda client: call(_chat(client)))(server.address)
    span = said(spans.one())
    assert json.loads(span["gen_ai.input.messages"])[0]["parts"] == [{"type": "text", "content": PROMPT}]
    [answered] = json.loads(span["gen_ai.output.messages"])
    assert answered["parts"][0]["content"].startswith("Every call is counted once")
