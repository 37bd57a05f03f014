"""Another instrumentation of the same client beside ours, installed before it or after: never a double count."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanledger.instrumentation import LimitExceeded, instrument, uninstrument
from tests.clients import foreign
from tests.clients.styles import MESSAGES, PROMPT, Spans
from tests.instrumentation.check_api import CheckApi

# Otherwise LiteLLM asks the internet for prices when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
counted = pytest.importorskip("tests.instrumentation.counted").counted
openai = pytest.importorskip("openai")

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}
OURS = "spanledger.instrumentation"


def plain(client: Any) -> None:
    client.chat.completions.create(**ASK)


def streamed(client: Any) -> None:
    list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))


def responses(client: Any) -> None:
    client.responses.create(model="gpt-4o-mini", input=PROMPT)


def failing(client: Any) -> None:
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="fail-429", messages=MESSAGES)


@contextmanager
def _both(
    put_in: Callable[[InMemorySpanExporter], Any], first: bool, exporter: InMemorySpanExporter, package: str
) -> Iterator[None]:
    with foreign.left_as_found(package), ExitStack() as ends:
        ends.callback(uninstrument)  # where theirs cannot be put in
        if not first:
            instrument()
        ends.callback(put_in(exporter))
        ends.callback(uninstrument)
        instrument()
        yield


@pytest.fixture
def exporter(_exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    return _exporter


@pytest.fixture(params=foreign.OPENAI)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["theirs first", "ours first"])
def both(request: pytest.FixtureRequest, name: str, _exporter: InMemorySpanExporter) -> Iterator[Spans]:
    with _both(foreign.OPENAI[name], request.param, _exporter, "openai"):
        _exporter.clear()
        yield Spans(_exporter)


@pytest.mark.parametrize("use", [plain, streamed, responses, failing], ids=lambda use: use.__name__)
def test_a_call_that_two_instrumentations_see_counts_once(use: Callable[[Any], None], both: Spans, url: str) -> None:
    with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client:
        use(client)
    scopes = {span.instrumentation_scope.name for span in both.all() if span.instrumentation_scope}
    if use is not responses:  # which not all of them know
        assert len(scopes) == 2 or scopes == {_alone(both)}, scopes
    (call,) = counted(both.all())
    if use is failing:
        assert call["outcome"] == "error"
    else:
        assert (call["input_tokens"], call["output_tokens"], call["cache_read_tokens"]) == (100, 40, 60)


def _alone(spans: Spans) -> str:
    """Logfire asks whoever is below it to be silent; then its own span alone is made."""
    scopes = [span.instrumentation_scope.name for span in spans.all() if span.instrumentation_scope]
    return next((scope for scope in scopes if "logfire" in scope), "two scopes")


def test_the_guard_is_asked_whoever_came_first(both: Spans, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with CheckApi(allowed=0) as api:
        monkeypatch.setenv("SPANLEDGER_GUARD", "1")
        monkeypatch.setenv("SPANLEDGER_API", api.url)
        monkeypatch.setenv("SPANLEDGER_GUARD_TIMEOUT_MS", "30000")
        instrument()
        with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client, pytest.raises(LimitExceeded):
            plain(client)


@pytest.mark.parametrize("first", [True, False], ids=["theirs first", "ours first"])
@pytest.mark.parametrize("name", foreign.ANTHROPIC)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_anthropic_counts_once_too(name: str, first: bool, stream: bool, url: str, exporter: InMemorySpanExporter) -> None:
    anthropic = pytest.importorskip("anthropic")
    with _both(foreign.ANTHROPIC[name], first, exporter, "anthropic"):
        exporter.clear()
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            answered = client.messages.create(model="claude-opus-4-6", max_tokens=99, messages=MESSAGES, stream=stream)
            list(answered)
        spans = Spans(exporter).all()
        assert len({span.instrumentation_scope.name for span in spans if span.instrumentation_scope}) == 2
        (call,) = counted(spans)
        assert (call["input_tokens"], call["output_tokens"], call["cache_read_tokens"]) == (100, 40, 60)


@pytest.mark.parametrize("first", [True, False], ids=["theirs first", "ours first"])
def test_bedrock_counts_once_too(first: bool, url: str, exporter: InMemorySpanExporter) -> None:
    boto3 = pytest.importorskip("boto3")
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "eu-west-1"}
    with _both(foreign.BOTOCORE["botocore"], first, exporter, "botocore"):
        exporter.clear()
        client = boto3.Session().client("bedrock-runtime", endpoint_url=url, **keys)
        client.converse(modelId="a-model", messages=[{"role": "user", "content": [{"text": PROMPT}]}])
        spans = Spans(exporter).all()
        assert len({span.instrumentation_scope.name for span in spans if span.instrumentation_scope}) == 2
        (call,) = counted(spans)
        assert (call["input_tokens"], call["output_tokens"], call["cache_read_tokens"]) == (100, 40, 60)


def test_litellms_own_spans_count_once_too(
    url: str, spans: Spans, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its callback makes a span for each of its calls, around ours."""
    litellm = pytest.importorskip("litellm")
    module = pytest.importorskip("litellm.integrations.opentelemetry")
    # It would import the whole of LiteLLM's proxy to tell it of itself.
    monkeypatch.setattr(module.OpenTelemetry, "_init_otel_logger_on_litellm_proxy", lambda self: None)
    callback = module.OpenTelemetry(
        config=module.OpenTelemetryConfig(exporter=exporter), tracer_provider=trace.get_tracer_provider()
    )
    litellm.callbacks = [callback]
    try:
        for model, base in (("openai/gpt-4o", url + "/v1"), ("anthropic/claude-sonnet-4-5", url + "/v1/messages")):
            exporter.clear()
            litellm.completion(model=model, messages=MESSAGES, api_base=base, api_key="any", max_retries=0)
            deadline = time.monotonic() + 20
            while len({span.instrumentation_scope.name for span in spans.all() if span.instrumentation_scope}) < 2:
                assert time.monotonic() < deadline, [span.name for span in spans.all()]
                time.sleep(0.05)
            (call,) = counted(spans.all())
            assert (call["input_tokens"], call["output_tokens"], call["cache_read_tokens"]) == (100, 40, 60)
    finally:
        # Its first call copies what stands in `callbacks` into lists of their own, which would speak in every test after this.
        litellm.logging_callback_manager._reset_all_callbacks()
        litellm.service_callback = []
