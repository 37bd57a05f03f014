"""Another instrumentation of the same client beside ours, installed before it or after: never a double count."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanledger.instrumentation import LimitExceeded, instrument, uninstrument
from tests.clients import foreign
from tests.clients.styles import MESSAGES, PROMPT, Spans
from tests.instrumentation.check_api import CheckApi

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


def _both(
    put_in: Callable[[InMemorySpanExporter], Any], first: bool, exporter: InMemorySpanExporter, package: str
) -> Iterator[None]:
    with foreign.left_as_found(package):
        if not first:
            instrument()
        take_out = put_in(exporter)
        instrument()
        try:
            yield
        finally:
            uninstrument()
            take_out()


@pytest.fixture(params=foreign.OPENAI)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["theirs first", "ours first"])
def both(request: pytest.FixtureRequest, name: str, _exporter: InMemorySpanExporter) -> Iterator[Spans]:
    for _ in _both(foreign.OPENAI[name], request.param, _exporter, "openai"):
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
    return next((scope for span in spans.all() if "logfire" in (scope := span.instrumentation_scope.name)), "two scopes")


def test_the_guard_is_asked_whoever_came_first(both: Spans, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with CheckApi(allowed=0) as api:
        monkeypatch.setenv("SPANLEDGER_GUARD", "1")
        monkeypatch.setenv("SPANLEDGER_API", api.url)
        monkeypatch.setenv("SPANLEDGER_GUARD_TIMEOUT_MS", "5000")
        instrument()
        with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client, pytest.raises(LimitExceeded):
            plain(client)
