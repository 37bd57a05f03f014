"""OpenAI chat completions through the real SDK: every style is one span with the provider's own counts."""

import asyncio
import gc
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.skimming import Tail
from spanledger.instrumentation.wires.openai_chat import read_chat_event
from tests.instrumentation.asking import MESSAGES, OPENAI_USAGE, reach, said, usage
from tests.instrumentation.conftest import Spans

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES}
#: Before version 3 the HTTP client's own error comes through.
CUT = ["APIConnectionError", "RemoteProtocolError"]
STREAM: dict[str, Any] = {**ASK, "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def client(provider: StandIn) -> Any:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


def _async(provider: StandIn, use: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        async with openai.AsyncOpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
            return await use(client)

    return asyncio.run(run())


def test_a_plain_call_is_one_client_span_with_every_count(client: Any, spans: Spans, provider: StandIn) -> None:
    completion = client.chat.completions.create(**ASK, temperature=0.5, max_completion_tokens=900)
    assert type(completion).__name__ == "ChatCompletion"
    span = spans.one()
    assert (span.name, span.kind, span.status.status_code) == ("chat gpt-4o", SpanKind.CLIENT, StatusCode.UNSET)
    assert said(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 900,
        "gen_ai.response.id": completion.id,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ("stop",),
        "openai.response.service_tier": "default",
        "spanledger.request.id": completion._request_id,
        "server.address": "127.0.0.1",
        "server.port": provider.port,
        **OPENAI_USAGE,
    }


def _iterate(client: Any) -> None:
    assert isinstance(stream := client.chat.completions.create(**STREAM), openai.Stream)
    assert sum(1 for _ in stream) > 10


def _step(client: Any) -> None:
    stream = client.chat.completions.create(**STREAM)
    try:
        while True:
            next(stream)
    except StopIteration:
        pass


def _manage(client: Any) -> None:
    with client.chat.completions.create(**STREAM) as stream:
        list(stream)


def _help(client: Any) -> None:
    with reach(client, "chat.completions.stream")(**ASK, stream_options={"include_usage": True}) as stream:
        assert stream.get_final_completion().usage.prompt_tokens == 100


def _help_with_events(client: Any) -> None:
    with reach(client, "chat.completions.stream")(**ASK, stream_options={"include_usage": True}) as stream:
        assert any(event.type == "content.delta" for event in stream)
        stream.until_done()


def _raw(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(**STREAM)
    assert sum(1 for _ in raw.parse()) > 10


def _streaming_response(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**STREAM) as response:
        assert any("[DONE]" in line for line in response.iter_lines())


def _streaming_response_parsed(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**STREAM) as response:
        assert sum(1 for _ in response.parse()) > 10


def _post(client: Any) -> None:
    kind = openai.Stream[openai.types.chat.ChatCompletionChunk]
    list(client.post("/chat/completions", cast_to=object, body=STREAM, stream=True, stream_cls=kind))


@pytest.mark.parametrize(
    "use",
    [_iterate, _step, _manage, _help, _help_with_events, _raw, _streaming_response, _streaming_response_parsed, _post],
)
def test_every_style_of_stream_is_one_span_with_every_count(use: Callable[[Any], None], client: Any, spans: Spans) -> None:
    use(client)
    span = spans.one()
    assert usage(span) == OPENAI_USAGE
    assert said(span)["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert said(span)["gen_ai.response.finish_reasons"] == ("stop",)
    assert said(span)["gen_ai.request.stream"] is True
    assert said(span)["gen_ai.response.time_to_first_chunk"] > 0
    assert "spanledger.stream.cut_short" not in said(span)
    assert span.status.status_code is StatusCode.UNSET


def _raw_plain(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK)
    assert json.loads(raw.http_response.content)["usage"]
    assert raw.parse().usage.prompt_tokens == 100


def _streaming_plain(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert response.parse().usage.prompt_tokens == 100


def _streaming_json(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert response.json()["usage"]["prompt_tokens"] == 100


def _post_plain(client: Any) -> None:
    assert client.post("/chat/completions", cast_to=object, body=ASK)["usage"]["prompt_tokens"] == 100


def _post_text(client: Any) -> None:
    assert '"prompt_tokens": 100' in client.post("/chat/completions", cast_to=str, body=ASK)


@pytest.mark.parametrize("use", [_raw_plain, _streaming_plain, _streaming_json, _post_plain, _post_text])
def test_every_form_of_a_plain_call_is_one_span_with_every_count(use: Callable[[Any], None], client: Any, spans: Spans) -> None:
    use(client)
    assert usage(spans.one()) == OPENAI_USAGE


def test_a_parsed_call_is_one_span(client: Any, spans: Spans) -> None:
    from pydantic import BaseModel

    class Verdict(BaseModel):
        answer: str
        score: int

    completion = reach(client, "chat.completions.parse")(**ASK, response_format=Verdict)
    assert completion.choices[0].message.parsed == Verdict(answer="counted once", score=1)
    assert usage(spans.one()) == OPENAI_USAGE


def test_asynchronous_calls_are_metered_alike(provider: StandIn, spans: Spans) -> None:
    async def plain(client: Any) -> None:
        await client.chat.completions.create(**ASK)

    async def stream(client: Any) -> None:
        async for _ in await client.chat.completions.create(**STREAM):
            pass

    async def manage(client: Any) -> None:
        async with await client.chat.completions.create(**STREAM) as events:
            async for _ in events:
                pass

    async def help_(client: Any) -> None:
        async with reach(client, "chat.completions.stream")(**ASK, stream_options={"include_usage": True}) as events:
            await events.get_final_completion()

    async def raw(client: Any) -> None:
        response = await client.chat.completions.with_raw_response.create(**STREAM)
        async for _ in response.parse():
            pass

    async def streaming(client: Any) -> None:
        async with client.chat.completions.with_streaming_response.create(**STREAM) as response:
            async for _ in response.iter_lines():
                pass

    uses = [plain, stream, manage, raw, streaming]
    if hasattr(openai.resources.chat.completions.AsyncCompletions, "stream"):
        uses.append(help_)
    for use in uses:
        spans.clear()
        _async(provider, use)
        assert usage(spans.one()) == OPENAI_USAGE, use.__name__


def test_a_stream_without_usage_is_estimated_and_says_so(client: Any, spans: Spans) -> None:
    list(client.chat.completions.create(**ASK, stream=True))
    estimated = usage(spans.one())
    assert said(spans.one())["spanledger.tokens.estimated"] is True
    assert 20 < estimated.pop("gen_ai.usage.input_tokens") < 60
    # Thirty pieces were spoken; the ten of reasoning nobody heard.
    assert 20 < estimated.pop("gen_ai.usage.output_tokens") <= 40
    assert estimated == {}


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_exceeded"), (500, "server_error"), (400, "invalid_value")])
def test_a_failed_call_is_an_error_with_the_providers_code(client: Any, spans: Spans, status: int, kind: str) -> None:
    for stream in (False, True):
        spans.clear()
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model=f"fail-{status}", messages=MESSAGES, stream=stream)
        assert caught.value.status_code == status
        span = spans.one()
        assert said(span)["error.type"] == kind
        assert span.status.status_code is StatusCode.ERROR
        assert usage(span) == {}


def test_retries_are_one_call(provider: StandIn, spans: Spans) -> None:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=1) as client:
        before = len(provider.seen)
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="fail-500", messages=MESSAGES)
        assert len(provider.seen) - before == 2
    spans.one()


@pytest.mark.parametrize(("model", "kinds"), [("error-stream", ["server_error"]), ("cut-stream", CUT)])
def test_a_stream_that_fails_in_the_middle_is_an_error(client: Any, spans: Spans, model: str, kinds: list[str]) -> None:
    stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    with pytest.raises(Exception, match=r"asked to fail|onnection"):
        list(stream)
    span = spans.one()
    assert said(span)["error.type"] in kinds
    assert said(span)["spanledger.stream.cut_short"] is True


def test_a_stream_left_early_ends_once_and_is_marked(client: Any, spans: Spans) -> None:
    def close(stream: Any) -> None:
        next(stream)
        stream.close()

    def leave(stream: Any) -> None:
        with stream:
            next(stream)

    def fall_out(stream: Any) -> None:
        with pytest.raises(KeyError), stream:
            raise KeyError

    def drop(stream: Any) -> None:
        next(stream)

    def never_read(stream: Any) -> None:
        pass

    for use in (close, leave, fall_out, drop, never_read):
        spans.clear()
        stream = client.chat.completions.create(**STREAM)
        use(stream)
        del stream
        gc.collect()
        span = spans.one()
        assert said(span)["spanledger.stream.cut_short"] is True, use.__name__
        assert span.status.status_code is StatusCode.UNSET, use.__name__


def test_a_helper_left_early_ends_its_call(client: Any, spans: Spans) -> None:
    with reach(client, "chat.completions.stream")(**ASK) as stream:
        next(iter(stream))
    assert said(spans.one())["spanledger.stream.cut_short"] is True


def test_a_task_cancelled_in_a_stream_ends_its_call_without_an_error(provider: StandIn, spans: Spans) -> None:
    async def use(client: Any) -> None:
        reads = asyncio.Event()

        async def read() -> None:
            async for _ in await client.chat.completions.create(**STREAM):
                reads.set()
                await asyncio.sleep(100)

        task = asyncio.create_task(read())
        await reads.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    _async(provider, use)
    gc.collect()
    assert spans.one().status.status_code is StatusCode.UNSET


def test_several_choices_tell_every_finish_reason(client: Any, spans: Spans) -> None:
    list(client.chat.completions.create(**STREAM, n=3))
    assert said(spans.one())["gen_ai.response.finish_reasons"] == ("stop", "stop", "stop")


def test_one_shot_messages_reach_the_provider(client: Any, spans: Spans, provider: StandIn) -> None:
    client.chat.completions.create(model="gpt-4o", messages=iter(MESSAGES))
    assert provider.seen[-1].body["messages"] == MESSAGES
    assert usage(spans.one()) == OPENAI_USAGE


def test_an_azure_client_is_named_as_azure(provider: StandIn, spans: Spans) -> None:
    with openai.AzureOpenAI(azure_endpoint=provider.url, api_key="any", api_version="2025-01-01", max_retries=0) as client:
        client.chat.completions.create(**{**ASK, "model": "my-deployment"})
    attributes = said(spans.one())
    assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert attributes["gen_ai.request.model"] == "my-deployment"


def test_a_stream_of_plain_dictionaries_is_one_span_too(client: Any, spans: Spans) -> None:
    body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    stream = client.post("/chat/completions", cast_to=object, body=body, stream=True, stream_cls=openai.Stream[object])
    assert all(type(event) is dict for event in stream)
    assert usage(spans.one()) == OPENAI_USAGE


def test_what_is_passed_over_in_a_stream_is_measured_by_what_is_read(spans: Spans) -> None:
    answer = Answer()
    answer.hear("12345")
    tail = Tail(lambda event, answer: answer.hear(event), answer)
    for _ in range(100):
        tail.seen += 1
        tail.last.append("12345")
    for _ in range(2):
        tail.settle()
    assert (answer.pieces, answer.characters) == (101, 505)


def test_a_first_chunk_without_choices_and_model_says_nothing() -> None:
    """Azure sends one, with what its filters say of the prompt."""
    answer = Answer()
    choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
    for chunk in (
        {"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]},
        {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "choices": [choice]},
        {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    ):
        read_chat_event(chunk, answer)
    assert (answer.id, answer.model, answer.finished) == ("chatcmpl-1", "gpt-4o-2024-08-06", True)
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output) == (3, 1)


def test_listing_models_is_no_call(client: Any, spans: Spans) -> None:
    with pytest.raises(openai.NotFoundError):
        client.models.list()
    assert spans.all() == []
