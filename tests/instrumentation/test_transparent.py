"""The application cannot tell: what a call returns, raises and sends is the same with metering and without."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry import context

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation import instrument, uninstrument
from tests.instrumentation.asking import MESSAGES, OPENAI_USAGE, usage
from tests.instrumentation.conftest import Spans

if int(openai.__version__.split(".")[0]) < 3:
    pytest.skip("written for the operations of the SDK's third version", allow_module_level=True)

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES}
#: Differ from call to call whoever makes it.
CHANGING = ("id", "_request_id", "request_id")


def _plain(value: Any) -> Any:
    """A client's object as what it holds and which of its fields were set; ids left out."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key not in CHANGING}
    if hasattr(value, "model_fields_set"):
        fields = sorted(value.model_fields_set - set(CHANGING))
        return [type(value).__qualname__, fields, _plain(dict(value)), _plain(value.to_dict())]
    return value


def _openai(url: str, use: Callable[[Any], Any]) -> Any:
    with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client:
        return use(client)


def _anthropic(url: str, use: Callable[[Any], Any]) -> Any:
    options: Any = False  # so that the SDK's own spans and trace headers are out of the comparison
    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0, open_telemetry=options) as client:
        return use(client)


def _text(client: Any) -> Any:
    with client.chat.completions.stream(**ASK) as stream:
        events = list(stream)
        return [event.type for event in events], stream.get_final_completion()


def _raised(client: Any) -> Any:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="fail-429", messages=MESSAGES)
    error = caught.value
    return type(error), str(error), error.status_code, error.code, error.body, type(error.__cause__)


def _broken(client: Any) -> Any:
    read: list[Any] = []
    stream = client.chat.completions.create(model="error-stream", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError) as caught:
        read.extend(iter(stream))
    return read, type(caught.value), str(caught.value), caught.value.body


def _lines(client: Any) -> Any:
    with client.chat.completions.with_streaming_response.create(**ASK) as response:
        headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
        return headers, response.status_code, response.is_closed, response.json()


def _messages(client: Any) -> Any:
    with client.messages.stream(model="claude-opus-4-6", max_tokens=99, messages=MESSAGES) as stream:
        return [event.type for event in stream], stream.get_final_message(), type(stream).__name__


USES: list[tuple[Any, Callable[[Any], Any]]] = [
    (_openai, lambda client: client.chat.completions.create(**ASK)),
    (_openai, lambda client: list(client.chat.completions.create(**ASK, stream=True))),
    (_openai, lambda client: list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))),
    (_openai, lambda client: client.chat.completions.with_raw_response.create(**ASK).parse()),
    (_openai, _text),
    (_openai, _raised),
    (_openai, _broken),
    (_openai, _lines),
    (_anthropic, lambda client: client.messages.create(model="claude-opus-4-6", max_tokens=99, messages=MESSAGES)),
    (_anthropic, _messages),
]


@pytest.mark.parametrize(("client", "use"), USES)
def test_results_errors_and_requests_are_the_same_with_metering_and_without(
    client: Callable[..., Any], use: Callable[[Any], Any], spans: Spans, provider: StandIn
) -> None:
    metered = client(provider.url, use)
    sent = provider.seen[-1]
    uninstrument()
    bare = client(provider.url, use)
    assert _plain(metered) == _plain(bare)
    left_out = ("idempotency-key", "x-stainless-read-timeout")
    assert provider.seen[-1].body == sent.body
    assert {k: v for k, v in provider.seen[-1].headers.items() if k not in left_out} == {
        k: v for k, v in sent.headers.items() if k not in left_out
    }


def _to_openai_host(url: str) -> Any:
    """A client that thinks it talks to api.openai.com, by way of a transport that goes to the stand-in."""
    import httpx2

    class ToStandIn(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            request.url = httpx2.URL(url).copy_with(raw_path=request.url.raw_path)
            return super().handle_request(request)

    return openai.OpenAI(api_key="any", max_retries=0, http_client=httpx2.Client(transport=ToStandIn()))


def test_usage_asked_for_by_us_is_counted_and_the_application_does_not_see_it(spans: Spans, provider: StandIn) -> None:
    with _to_openai_host(provider.url) as client:
        metered = list(client.chat.completions.create(**ASK, stream=True, n=2))
        assert provider.seen[-1].body["stream_options"] == {"include_usage": True}
        assert usage(spans.one()) == OPENAI_USAGE
        spans.clear()
        with client.chat.completions.stream(**ASK) as stream:
            assert stream.get_final_completion().usage is None
        assert usage(spans.one()) == OPENAI_USAGE
        uninstrument()
        bare = list(client.chat.completions.create(**ASK, stream=True, n=2))
        assert "stream_options" not in provider.seen[-1].body
    assert _plain(metered) == _plain(bare)


def test_usage_is_not_asked_for_where_the_application_said_something_or_reads_the_bytes(spans: Spans, provider: StandIn) -> None:
    with _to_openai_host(provider.url) as client:
        list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": False}))
        assert provider.seen[-1].body["stream_options"] == {"include_usage": False}
        with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
            list(response.iter_lines())
        assert "stream_options" not in provider.seen[-1].body


def test_results_can_be_pickled_and_copied(spans: Spans, provider: StandIn) -> None:
    completion = _openai(provider.url, lambda client: client.chat.completions.create(**ASK))
    assert pickle.loads(pickle.dumps(completion)) == copy.deepcopy(completion) == completion


def test_the_request_layer_keeps_its_signature_and_its_kind(spans: Spans) -> None:
    import inspect

    from openai import _base_client

    assert list(inspect.signature(_base_client.SyncAPIClient.request).parameters)[:3] == ["self", "cast_to", "options"]
    assert inspect.iscoroutinefunction(_base_client.AsyncAPIClient.request)
    assert not inspect.iscoroutinefunction(_base_client.SyncAPIClient.request)


@pytest.mark.parametrize("place", ["ask", "begin", "_watch", "read", "read_event", "_finish"])
def test_a_bug_of_ours_never_reaches_the_application(
    place: str, spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch
) -> None:
    from spanledger.instrumentation import call, engine, results
    from spanledger.instrumentation.providers import openai as ours

    clean_environ.delenv("SPANLEDGER_RAISE_INTERNAL_ERRORS")

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError(place)

    operation = ours.OPERATIONS["/chat/completions"]
    if place in ("read", "read_event"):
        object.__setattr__(operation, place, broken)
    else:
        owner, name = {
            "ask": (engine, "suppressed"),
            "begin": (engine, "Call"),
            "_watch": (results, "watch"),
            "_finish": (call.Call, "_finish"),
        }[place]
        clean_environ.setattr(owner, name, broken)
    try:
        assert _openai(provider.url, lambda client: client.chat.completions.create(**ASK)).usage.prompt_tokens == 100
        stream = _openai(provider.url, lambda client: list(client.chat.completions.create(**ASK, stream=True)))
        assert len(stream) > 10
    finally:
        object.__setattr__(operation, "read", ours.read_chat)
        object.__setattr__(operation, "read_event", ours.read_chat_event)


def test_suppressed_instrumentation_emits_nothing(spans: Spans, provider: StandIn) -> None:
    token = context.attach(context.set_value("suppress_instrumentation", True))
    try:
        _openai(provider.url, lambda client: client.chat.completions.create(**ASK))
    finally:
        context.detach(token)
    assert spans.all() == []


def test_otel_sdk_disabled_emits_nothing(spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setenv("OTEL_SDK_DISABLED", "true")
    instrument()
    _openai(provider.url, lambda client: client.chat.completions.create(**ASK))
    assert spans.all() == []
