"""Another instrumentation of the same client beside ours: both emit, the collector counts the call once."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from opentelemetry import trace

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation import instrument
from tests.instrumentation.asking import MESSAGES
from tests.instrumentation.conftest import Spans
from tests.instrumentation.counted import counted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # their own
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}


def _openinference() -> Any:
    return pytest.importorskip("openinference.instrumentation.openai").OpenAIInstrumentor()


def _remove(instrumentor: Any) -> None:
    """Take it out, and what it leaves behind on the client's classes, which would hide the request layer below."""
    instrumentor.uninstrument()
    for kind in (openai.OpenAI, openai.AsyncOpenAI):
        if "request" in vars(kind):
            del kind.request


@pytest.fixture
def other(spans: Spans) -> Iterator[Any]:
    """Another instrumentation, installed over ours."""
    instrumentor = _openinference()
    instrumentor.instrument(tracer_provider=trace.get_tracer_provider(), skip_dep_check=True)
    yield instrumentor
    _remove(instrumentor)


def _plain(client: Any) -> Any:
    return client.chat.completions.create(**ASK).id


def _stream(client: Any) -> Any:
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    return chunks[0].id


@pytest.mark.parametrize("use", [_plain, _stream])
def test_a_call_that_two_instrumentations_see_counts_once(
    use: Callable[[Any], Any], other: Any, spans: Spans, provider: StandIn
) -> None:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
        number = use(client)
    scopes = {span.instrumentation_scope.name for span in spans.all() if span.instrumentation_scope}
    assert len(scopes) == 2, "the other one was not at work"
    (call,) = counted(spans.all())
    assert call["response_id"] == number
    assert (call["input_tokens"], call["output_tokens"], call["cache_read_tokens"]) == (100, 40, 60)


def test_one_that_was_installed_first_and_hides_ours_is_counted_itself(spans: Spans, provider: StandIn) -> None:
    from spanledger.instrumentation import uninstrument

    uninstrument()
    instrumentor = _openinference()
    instrumentor.instrument(tracer_provider=trace.get_tracer_provider(), skip_dep_check=True)
    try:
        instrument()
        with openai.OpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
            _plain(client)
        # It has taken the client's method as it was before ours, so only its own span is made.
        assert len(spans.all()) == 1
        (call,) = counted(spans.all())
        assert (call["input_tokens"], call["output_tokens"]) == (100, 40)
        uninstrument()
    finally:
        _remove(instrumentor)
