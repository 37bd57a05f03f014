"""Everything else that OpenAI charges for, through the real SDK: one span each, with tokens or with what is metered instead."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from opentelemetry.trace import StatusCode
from pydantic import BaseModel

from spanledger.cli.provider_stand_in import StandIn
from tests.instrumentation.asking import DIRECTED, OPENAI_USAGE, said, usage
from tests.instrumentation.conftest import Spans

if int(openai.__version__.split(".")[0]) < 3:
    pytest.skip("written for the operations of the SDK's third version", allow_module_level=True)

ASK: dict[str, Any] = {"model": "gpt-4o", "input": DIRECTED}


@pytest.fixture
def client(provider: StandIn) -> Iterator[Any]:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


def _meters(spans: Spans) -> dict[str, Any]:
    prefix = "spanledger.meter."
    return {name.removeprefix(prefix): value for name, value in said(spans.one()).items() if name.startswith(prefix)}


class Verdict(BaseModel):
    answer: str
    score: int


def _create(client: Any) -> None:
    assert client.responses.create(**ASK).usage.input_tokens == 100


def _parse(client: Any) -> None:
    assert client.responses.parse(**ASK, text_format=Verdict).output_parsed == Verdict(answer="counted once", score=1)


def _stream(client: Any) -> None:
    events = client.responses.create(**ASK, stream=True)
    assert isinstance(events, openai.Stream)
    assert [event.type for event in events][-1] == "response.completed"


def _helper(client: Any) -> None:
    with client.responses.stream(**ASK) as stream:
        assert stream.get_final_response().usage.output_tokens == 40


def _raw(client: Any) -> None:
    assert client.responses.with_raw_response.create(**ASK).parse().usage.input_tokens == 100


def _raw_stream(client: Any) -> None:
    list(client.responses.with_raw_response.create(**ASK, stream=True).parse())


def _bytes(client: Any) -> None:
    with client.responses.with_streaming_response.create(**ASK, stream=True) as response:
        list(response.iter_lines())


@pytest.mark.parametrize("use", [_create, _parse, _stream, _helper, _raw, _raw_stream, _bytes])
def test_every_style_of_response_is_one_span_with_every_count(use: Callable[[Any], None], client: Any, spans: Spans) -> None:
    use(client)
    span = spans.one()
    assert (span.name, span.status.status_code) == ("chat gpt-4o", StatusCode.UNSET)
    assert usage(span) == OPENAI_USAGE
    assert said(span)["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert said(span)["gen_ai.response.id"].startswith("resp_")
    assert said(span)["gen_ai.response.finish_reasons"] == ("stop",)
    assert said(span)["openai.response.service_tier"] == "default"
    assert "spanledger.stream.cut_short" not in said(span)


def test_asynchronous_responses_are_metered_alike(provider: StandIn, spans: Spans) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
            await client.responses.create(**ASK)
            async for _ in await client.responses.create(**ASK, stream=True):
                pass
            async with client.responses.stream(**ASK) as stream:
                await stream.get_final_response()

    asyncio.run(run())
    assert [usage(span) for span in spans.calls()] == [OPENAI_USAGE] * 3


def test_a_response_says_what_it_asked_for(client: Any, spans: Spans) -> None:
    client.responses.create(**ASK, max_output_tokens=77, previous_response_id="resp_0", reasoning={"effort": "low"})
    attributes = said(spans.one())
    assert attributes["gen_ai.request.max_tokens"] == 77
    assert attributes["gen_ai.request.previous_response.id"] == "resp_0"
    assert attributes["gen_ai.request.reasoning.level"] == "low"


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_that_fails_without_raising_is_an_error_and_keeps_its_usage(client: Any, spans: Spans, stream: bool) -> None:
    answered = client.responses.create(**{**ASK, "model": "failing"}, stream=stream)
    if stream:
        list(answered)
    span = spans.one()
    assert said(span)["error.type"] == "server_error"
    assert span.status.status_code is StatusCode.ERROR
    assert usage(span) == OPENAI_USAGE


def test_an_incomplete_response_says_why_and_is_no_error(client: Any, spans: Spans) -> None:
    list(client.responses.create(**{**ASK, "model": "incomplete"}, stream=True))
    assert said(spans.one())["gen_ai.response.finish_reasons"] == ("max_output_tokens",)
    assert spans.one().status.status_code is StatusCode.UNSET


def test_an_error_event_in_a_response_stream_is_an_error(client: Any, spans: Spans) -> None:
    events = [event.type for event in client.responses.create(**{**ASK, "model": "error-stream"}, stream=True)]
    assert events[-1] == "error"
    assert said(spans.one())["error.type"] == "server_error"


def test_a_response_stream_left_early_is_cut_short(client: Any, spans: Spans) -> None:
    with client.responses.stream(**ASK) as stream:
        next(iter(stream))
    assert said(spans.one())["spanledger.stream.cut_short"] is True


def test_searches_are_counted(client: Any, spans: Spans) -> None:
    client.responses.create(**ASK, tools=[{"type": "web_search"}, {"type": "web_search"}])
    assert _meters(spans) == {"searches": 2}


def test_fetching_a_response_is_no_call(client: Any, spans: Spans) -> None:
    client.responses.retrieve("resp_plain")
    assert spans.all() == []


def test_a_background_response_is_told_of_with_its_usage_when_it_is_fetched_and_once(client: Any, spans: Spans) -> None:
    begun = client.responses.create(**ASK, background=True)
    assert usage(spans.one()) == {}
    assert said(spans.one())["gen_ai.response.id"] == begun.id
    spans.clear()
    client.responses.retrieve(begun.id)
    client.responses.retrieve(begun.id)
    attributes = said(spans.one())
    assert attributes["gen_ai.response.id"] == begun.id
    assert attributes["gen_ai.operation.name"] == "chat"
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (100, 40)
    assert attributes["spanledger.told_later"] is True


def test_a_finished_batch_is_told_of_when_it_is_fetched_and_once(client: Any, spans: Spans) -> None:
    client.batches.retrieve("batch_running")
    assert spans.all() == []
    for _ in range(3):
        client.batches.retrieve("batch_1")
    client.batches.with_raw_response.retrieve("batch_1")
    attributes = said(spans.one())
    assert attributes["gen_ai.response.id"] == "batch_1"
    assert attributes["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert (attributes["spanledger.batch"], attributes["spanledger.batch.calls"]) == (True, 3)
    assert usage(spans.one()) == {
        "gen_ai.usage.input_tokens": 300,
        "gen_ai.usage.output_tokens": 120,
        "gen_ai.usage.cache_read.input_tokens": 90,
        "gen_ai.usage.reasoning.output_tokens": 30,
    }


def test_embeddings_of_both_encodings(client: Any, spans: Spans) -> None:
    for encoding in ("float", "base64"):
        spans.clear()
        vectors = client.embeddings.create(
            model="text-embedding-3-small", input=[DIRECTED, "b"], dimensions=4, encoding_format=encoding
        )
        assert len(vectors.data) == 2
        span = spans.one()
        assert span.name == "embeddings text-embedding-3-small"
        assert usage(span) == {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 0}
        assert said(span)["gen_ai.embeddings.dimension.count"] == 4
    spans.clear()
    assert len(client.embeddings.create(model="text-embedding-3-small", input="a").data[0].embedding) == 8
    raw = client.embeddings.with_raw_response.create(model="text-embedding-3-small", input=DIRECTED)
    assert raw.parse().usage.prompt_tokens == 100
    assert [usage(span)["gen_ai.usage.input_tokens"] for span in spans.calls()][1] == 100


def test_legacy_completions(client: Any, spans: Spans) -> None:
    client.completions.create(model="gpt-3.5-turbo-instruct", prompt=DIRECTED)
    list(
        client.completions.create(
            model="gpt-3.5-turbo-instruct", prompt=DIRECTED, stream=True, stream_options={"include_usage": True}
        )
    )
    tokens = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 40}
    assert [usage(span) for span in spans.calls()] == [tokens, tokens]
    assert spans.calls()[0].name == "text_completion gpt-3.5-turbo-instruct"


def test_images_that_are_charged_by_tokens_and_by_the_image(client: Any, spans: Spans) -> None:
    tokens = {
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.output_tokens": 900,
        "gen_ai.usage.image.input_tokens": 20,
        "gen_ai.usage.image.output_tokens": 900,
    }
    prompt = "[[input=50 images=20 output=900]]"
    client.images.generate(model="gpt-image-1", prompt=prompt, n=2)
    assert (usage(spans.one()), _meters(spans)) == (tokens, {"images": 2})
    spans.clear()
    list(client.images.generate(model="gpt-image-1", prompt=prompt, stream=True))
    assert usage(spans.one()) == tokens
    spans.clear()
    client.images.generate(model="dall-e-3", prompt="a ledger", size="1792x1024", quality="hd")
    assert (usage(spans.one()), _meters(spans)) == ({}, {"images": 1})
    assert said(spans.one())["openai.request.image.size"] == "1792x1024"
    spans.clear()
    client.images.edit(model="gpt-image-1", prompt=prompt, image=b"png")
    assert usage(spans.one())["gen_ai.usage.output_tokens"] > 0
    assert said(spans.one())["gen_ai.request.model"] == "gpt-image-1"


def test_speech_is_metered_by_its_characters_and_its_sound_is_untouched(client: Any, spans: Spans) -> None:
    sound = client.audio.speech.create(model="tts-1", voice="alloy", input="Twelve chars").content
    assert _meters(spans) == {"characters": 12}
    spans.clear()
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Twelve chars") as response:
        assert b"".join(response.iter_bytes()) == sound
    assert _meters(spans) == {"characters": 12}
    assert said(spans.one())["gen_ai.operation.name"] == "speech"
    assert spans.one().status.status_code is StatusCode.UNSET


def test_transcriptions_by_tokens_by_seconds_and_streamed(client: Any, spans: Spans) -> None:
    sound = ("a.mp3", b"sound")
    client.audio.transcriptions.create(model="whisper-1", file=sound)
    assert _meters(spans) == {"audio_seconds": 12.5}
    assert said(spans.one())["gen_ai.request.model"] == "whisper-1"
    spans.clear()
    client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound)
    assert usage(spans.one())["gen_ai.usage.audio.input_tokens"] > 0
    spans.clear()
    list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound, stream=True))
    assert usage(spans.one())["gen_ai.usage.audio.input_tokens"] > 0
    spans.clear()
    client.audio.transcriptions.create(model="whisper-1", file=sound, response_format="verbose_json")
    assert _meters(spans) == {"audio_seconds": 12.5}
    spans.clear()
    assert "counted" in client.audio.transcriptions.create(model="whisper-1", file=sound, response_format="text")
    assert _meters(spans) == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_translations(client: Any, spans: Spans) -> None:
    client.audio.translations.create(model="whisper-1", file=("a.mp3", b"sound"), response_format="verbose_json")
    assert said(spans.one())["gen_ai.operation.name"] == "translation"
    assert _meters(spans) == {"audio_seconds": 12.5}


def test_moderations_are_calls_that_use_nothing(client: Any, spans: Spans) -> None:
    client.moderations.create(input="hello")
    assert said(spans.one())["gen_ai.operation.name"] == "moderation"
    assert usage(spans.one()) == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_videos_are_metered_by_their_seconds(client: Any, spans: Spans) -> None:
    client.videos.create(prompt="a ledger", model="sora-2", seconds="8")
    assert _meters(spans) == {"video_seconds": 8.0}


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.embeddings.create(model="fail-429", input="a"),
        lambda client: client.responses.create(model="fail-429", input="a"),
        lambda client: client.images.generate(model="fail-429", prompt="a"),
        lambda client: client.audio.speech.create(model="fail-429", input="a", voice="alloy"),
        lambda client: client.audio.transcriptions.create(model="fail-429", file=("a.mp3", b"sound")),
        lambda client: client.completions.create(model="fail-429", prompt="a"),
        lambda client: client.moderations.create(model="fail-429", input="a"),
    ],
)
def test_every_operation_that_fails_is_an_error(use: Callable[[Any], Any], client: Any, spans: Spans) -> None:
    with pytest.raises(openai.RateLimitError):
        use(client)
    assert said(spans.one())["error.type"] == "rate_limit_exceeded"
    assert not {name for name in said(spans.one()) if "usage" in name}
