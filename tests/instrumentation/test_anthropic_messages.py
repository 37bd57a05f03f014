"""Anthropic messages through the real SDK, which emits spans of its own: exactly one counts."""

import asyncio
import gc
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

from spanledger.cli.provider_stand_in import StandIn
from tests.instrumentation.asking import ANTHROPIC_USAGE, MESSAGES, reach, said, usage
from tests.instrumentation.conftest import Spans

#: Whether this version of the SDK emits spans of its own.
NATIVE = find_spec("anthropic._tracing") is not None
ASK: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 500, "messages": MESSAGES}


@pytest.fixture
def client(provider: StandIn) -> Any:
    with anthropic.Anthropic(base_url=provider.url, api_key="any", max_retries=0) as client:
        yield client


def test_a_plain_call_is_one_span_with_every_count(client: Any, spans: Spans, provider: StandIn) -> None:
    message = client.messages.create(**ASK)
    assert message.usage.input_tokens == 20
    assert len(spans.all()) == 1
    assert said(spans.one()) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-opus-4-6",
        "gen_ai.request.max_tokens": 500,
        "gen_ai.response.id": message.id,
        "gen_ai.response.model": "claude-opus-4-6",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "anthropic.response.service_tier": "standard",
        "anthropic.request.id": message._request_id,
        "server.address": "127.0.0.1",
        "server.port": provider.port,
        **ANTHROPIC_USAGE,
    }


def _iterate(client: Any) -> None:
    stream = client.messages.create(**ASK, stream=True)
    assert isinstance(stream, anthropic.Stream)
    assert sum(1 for _ in stream) > 10


def _final_message(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        assert stream.get_final_message().usage.output_tokens == 40


def _text(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        assert "counted once" in "".join(stream.text_stream)


def _until_done(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        stream.until_done()


def _beta(client: Any) -> None:
    with reach(client, "beta.messages.stream")(**ASK) as stream:
        stream.get_final_message()


def _raw(client: Any) -> None:
    list(client.messages.with_raw_response.create(**ASK, stream=True).parse())


def _bytes(client: Any) -> None:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        assert b"message_stop" in b"".join(response.iter_bytes())


@pytest.mark.parametrize("use", [_iterate, _final_message, _text, _until_done, _beta, _raw, _bytes])
def test_every_style_of_stream_is_one_span_with_every_count(use: Callable[[Any], None], client: Any, spans: Spans) -> None:
    use(client)
    assert len(spans.all()) == 1
    span = spans.one()
    assert usage(span) == ANTHROPIC_USAGE
    assert said(span)["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert "spanledger.stream.cut_short" not in said(span)


def test_every_form_of_a_plain_call_is_one_span_with_every_count(client: Any, spans: Spans) -> None:
    def raw() -> None:
        client.messages.with_raw_response.create(**ASK).parse()

    def streaming() -> None:
        with client.messages.with_streaming_response.create(**ASK) as response:
            response.parse()

    def beta() -> None:
        client.beta.messages.create(**ASK)

    def parse() -> None:
        client.messages.parse(**ASK)

    uses = [raw, streaming, beta]
    if hasattr(client.messages, "parse"):
        uses.append(parse)
    for use in uses:
        spans.clear()
        use()
        assert usage(spans.one()) == ANTHROPIC_USAGE, use.__name__
        assert len(spans.all()) == 1


def test_asynchronous_calls_are_metered_alike(provider: StandIn, spans: Spans) -> None:
    async def plain(client: Any) -> None:
        await client.messages.create(**ASK)

    async def stream(client: Any) -> None:
        async for _ in await client.messages.create(**ASK, stream=True):
            pass

    async def help_(client: Any) -> None:
        async with client.messages.stream(**ASK) as events:
            await events.get_final_message()

    async def streaming(client: Any) -> None:
        async with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
            async for _ in response.iter_bytes():
                pass

    async def run(use: Callable[[Any], Any]) -> None:
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="any", max_retries=0) as client:
            await use(client)

    for use in (plain, stream, help_, streaming):
        spans.clear()
        asyncio.run(run(use))
        assert usage(spans.one()) == ANTHROPIC_USAGE, use.__name__
        assert len(spans.all()) == 1


def test_a_stream_left_early_keeps_the_input_it_was_told(client: Any, spans: Spans) -> None:
    with client.messages.stream(**ASK) as stream:
        for event in stream:
            if event.type == "text":
                break
    span = spans.one()
    assert usage(span)["gen_ai.usage.input_tokens"] == 100
    assert said(span)["spanledger.stream.cut_short"] is True


def test_the_output_of_a_stream_left_early_is_estimated_from_what_was_heard(client: Any, spans: Spans) -> None:
    with client.messages.stream(**ASK) as stream:
        for number, _ in enumerate(stream.text_stream):
            if number == 20:
                break
    assert 15 < usage(spans.one())["gen_ai.usage.output_tokens"] < 30
    assert said(spans.one())["spanledger.tokens.estimated"] is True


def test_a_dropped_stream_ends_its_call(client: Any, spans: Spans) -> None:
    stream = client.messages.create(**ASK, stream=True)
    del stream
    gc.collect()
    assert said(spans.one())["spanledger.stream.cut_short"] is True


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limit_error"), (529, "overloaded_error"), (401, "authentication_error")]
)
def test_a_failed_call_is_an_error_with_the_providers_type(client: Any, spans: Spans, status: int, kind: str) -> None:
    with pytest.raises(anthropic.APIStatusError):
        client.messages.create(**{**ASK, "model": f"fail-{status}"})
    assert said(spans.one())["error.type"] == kind
    assert spans.one().status.status_code is StatusCode.ERROR


def test_an_error_inside_a_stream_is_an_error(client: Any, spans: Spans) -> None:
    with pytest.raises(anthropic.APIStatusError), client.messages.stream(**{**ASK, "model": "error-stream"}) as stream:
        stream.get_final_message()
    assert said(spans.one())["error.type"] == "overloaded_error"


def test_counting_tokens_is_no_call_and_keeps_the_sdks_own_span(client: Any, spans: Spans) -> None:
    reach(client, "messages.count_tokens")(model="claude-opus-4-6", messages=MESSAGES)
    assert spans.calls() == []
    assert [span.name for span in spans.all()] == (["anthropic.messages.count_tokens"] if NATIVE else [])


@pytest.mark.skipif(not NATIVE, reason="this version of the SDK emits no spans")
def test_the_sdks_own_spans_for_another_tracer_provider_stay(provider: StandIn, spans: Spans) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    theirs = InMemorySpanExporter()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(theirs))
    options: Any = {"tracer_provider": tracer_provider}
    with anthropic.Anthropic(base_url=provider.url, api_key="any", open_telemetry=options) as client:
        client.messages.create(**ASK)
    assert len(theirs.get_finished_spans()) == 1
    assert usage(spans.one()) == ANTHROPIC_USAGE


def test_a_batchs_results_are_told_of_as_they_are_read_each_once(client: Any, provider: StandIn, spans: Spans) -> None:
    results = reach(client, "messages.batches.results")
    assert [line.result.type for line in results("msgbatch_7")] == [
        "succeeded",
        "succeeded",
        "errored",
    ]
    list(client.messages.batches.results("msgbatch_7"))

    async def run() -> None:
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="any") as asynchronous:
            async for _ in await asynchronous.messages.batches.results("msgbatch_8"):
                pass

    asyncio.run(run())
    told = [said(span) for span in spans.calls()]
    assert [one["gen_ai.response.id"] for one in told] == [
        f"msg_msgbatch_{batch}_{place}" for batch in (7, 8) for place in (0, 1)
    ]
    for one in told:
        assert (one["gen_ai.usage.input_tokens"], one["gen_ai.usage.cache_read.input_tokens"]) == (100, 60)
        assert (one["anthropic.response.service_tier"], one["spanledger.batch"]) == ("batch", True)
