"""Prompts and answers are recorded only when asked for, in the conventions' form, and after redaction."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation import instrument
from tests.instrumentation.asking import said
from tests.instrumentation.conftest import Spans

SECRET = "my secret plan [[output=6]]"
CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions")


def _openai(url: str, stream: bool) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": SECRET}]},
    ]
    with openai.OpenAI(base_url=url + "/v1", api_key="any") as client:
        answered: Any = client.chat.completions.create(model="gpt-4o", messages=messages, stream=stream)
        list(answered)


def _responses(url: str, stream: bool) -> None:
    with openai.OpenAI(base_url=url + "/v1", api_key="any") as client:
        answered: Any = client.responses.create(model="gpt-4o", instructions="be brief", input=SECRET, stream=stream)
        list(answered)


def _anthropic(url: str, stream: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": SECRET}]
    with anthropic.Anthropic(base_url=url, api_key="any") as client:
        answered: Any = client.messages.create(
            model="claude-opus-4-6", max_tokens=50, system="be brief", messages=messages, stream=stream
        )
        list(answered)


each_client = pytest.mark.parametrize("use", [_openai, _responses, _anthropic])
each_style = pytest.mark.parametrize("stream", [False, True])


@each_client
@each_style
def test_nothing_that_was_said_is_on_the_span_by_default(
    use: Callable[[str, bool], None], stream: bool, spans: Spans, provider: StandIn
) -> None:
    use(provider.url, stream)
    assert "secret" not in json.dumps(said(spans.one()), default=str)
    assert not said(spans.one()).keys() & set(CONTENT)


@each_client
@each_style
def test_what_was_said_is_recorded_when_asked_for(
    use: Callable[[str, bool], None], stream: bool, spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch
) -> None:
    clean_environ.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    instrument()
    use(provider.url, stream)
    attributes = said(spans.one())
    inputs = json.loads(attributes["gen_ai.input.messages"])
    assert inputs[-1] == {"role": "user", "parts": [{"type": "text", "content": SECRET}]}
    assert "be brief" in attributes["gen_ai.input.messages"] + attributes.get("gen_ai.system_instructions", "")
    (output,) = json.loads(attributes["gen_ai.output.messages"])
    assert output["parts"] == [{"type": "text", "content": "Every call is counted once and"}]
    assert output["role"] == "assistant"
    assert output["finish_reason"] != "error"


def test_the_hook_decides_what_is_recorded(spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")

    def redact(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        return None if messages[0]["role"] == "assistant" else [{"role": m["role"], "parts": []} for m in messages]

    instrument(redact=redact)
    _openai(provider.url, False)
    attributes = said(spans.one())
    assert json.loads(attributes["gen_ai.input.messages"]) == [{"role": "system", "parts": []}, {"role": "user", "parts": []}]
    assert "gen_ai.output.messages" not in attributes


def test_a_hook_that_fails_records_nothing_and_the_call_is_still_counted(
    spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch
) -> None:
    clean_environ.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")

    def broken(messages: Any) -> Any:
        raise ZeroDivisionError

    instrument(redact=broken)
    _openai(provider.url, False)
    attributes = said(spans.one())
    assert not attributes.keys() & set(CONTENT)
    assert attributes["gen_ai.usage.output_tokens"] == 6
