"""The guard stands before every client: a refused call sends nothing, an allowed one carries its hold."""

import asyncio
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation import LimitExceeded, attribute, instrument
from tests.clients.styles import MESSAGES, PROMPT, Spans, gathered, said
from tests.instrumentation.check_api import CheckApi

ASK: dict[str, Any] = {"model": "a-model", "messages": MESSAGES}


def _stainless(package: str, name: str, url: str) -> Any:
    more = {"warm_tcp_connection": False} if package.startswith("cerebras") else {}
    return getattr(pytest.importorskip(package), name)(base_url=url + "/groq", api_key="any", max_retries=0, **more)


def _groq(url: str) -> Any:
    return _stainless("groq", "Groq", url).chat.completions.create(**ASK)


def _groq_stream(url: str) -> Any:
    return list(_stainless("groq", "Groq", url).chat.completions.create(**ASK, stream=True))


def _gemini(url: str) -> Any:
    return pytest.importorskip("google.genai").Client(api_key="any", http_options={"base_url": url})


def _gemini_plain(url: str) -> Any:
    client = _gemini(url)
    return client.models.generate_content(model="a-model", contents=PROMPT)


def _gemini_stream(url: str) -> Any:
    client = _gemini(url)
    return list(client.models.generate_content_stream(model="a-model", contents=PROMPT))


def _mistral(url: str) -> Any:
    return pytest.importorskip("mistralai.client").Mistral(api_key="any", server_url=url + "/mistral").chat.complete(**ASK)


def _cohere(url: str) -> Any:
    return pytest.importorskip("cohere").ClientV2(api_key="any", base_url=url).chat(**ASK)


def _cohere_stream(url: str) -> Any:
    return list(pytest.importorskip("cohere").ClientV2(api_key="any", base_url=url).chat_stream(**ASK))


def _cohere_async_stream(url: str) -> Any:
    async def go() -> Any:
        return await gathered(pytest.importorskip("cohere").AsyncClientV2(api_key="any", base_url=url).chat_stream(**ASK))

    return asyncio.run(go())


def _ollama(url: str) -> Any:
    return pytest.importorskip("ollama").Client(host=url).chat(**ASK)


def _ollama_stream(url: str) -> Any:
    return list(pytest.importorskip("ollama").Client(host=url).chat(**ASK, stream=True))


def _ollama_async_stream(url: str) -> Any:
    async def go() -> Any:
        return await gathered(await pytest.importorskip("ollama").AsyncClient(host=url).chat(**ASK, stream=True))

    return asyncio.run(go())


@cache
def _boto(url: str) -> Any:
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "eu-west-1"}
    return pytest.importorskip("boto3").Session().client("bedrock-runtime", endpoint_url=url, **keys)


def _bedrock(url: str) -> Any:
    return _boto(url).converse(modelId="a-model", messages=[{"role": "user", "content": [{"text": PROMPT}]}])


def _huggingface(url: str) -> Any:
    return pytest.importorskip("huggingface_hub").InferenceClient(base_url=url + "/v1", api_key="any").chat_completion(**ASK)


def _voyage(url: str) -> Any:
    client = pytest.importorskip("voyageai").Client(api_key="any", base_url=url + "/voyage", max_retries=1)
    return client.embed([PROMPT], "a-model")


def _azure(url: str) -> Any:
    key = pytest.importorskip("azure.core.credentials").AzureKeyCredential("any")
    return pytest.importorskip("azure.ai.inference").ChatCompletionsClient(endpoint=url, credential=key).complete(**ASK)


CALLS: list[Callable[[str], Any]] = [
    _groq, _groq_stream, _gemini_plain, _gemini_stream, _mistral, _cohere, _cohere_stream, _cohere_async_stream, _ollama,
    _ollama_stream, _ollama_async_stream, _bedrock, _huggingface, _voyage, _azure,
]  # fmt: skip
each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__.strip("_").replace("_", " "))


def _guard(environ: pytest.MonkeyPatch, api: CheckApi) -> None:
    environ.setenv("SPANLEDGER_GUARD", "1")
    environ.setenv("SPANLEDGER_API", api.url)
    environ.setenv("SPANLEDGER_GUARD_TIMEOUT_MS", "30000")
    instrument()


@each_call
def test_an_allowed_call_says_its_size_and_carries_its_hold(
    call: Callable[[str], Any], url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckApi() as api:
        _guard(monkeypatch, api)
        with attribute(tenant="acme"):
            call(url)
        span = said(spans.one())
        assert span["spanledger.hold.id"] == "hold-1"
        [question] = api.asked
        assert (question["tenant"], question["model"]) == ("acme", "a-model")
        assert question["provider"] == span["gen_ai.provider.name"]
        # The prompt has 25 tokens of OpenAI's.
        assert question["input_tokens"] >= 20


@each_call
def test_a_refused_call_sends_nothing(
    call: Callable[[str], Any], url: str, provider: StandIn, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckApi(allowed=0) as api:
        _guard(monkeypatch, api)
        before = len(provider.seen)
        with pytest.raises(LimitExceeded) as caught:
            call(url)
        assert caught.value.limit == "acme a day"
        assert len(provider.seen) == before
        assert spans.all() == []


@each_call
def test_another_model_may_be_named_for_a_refused_call(
    call: Callable[[str], Any], url: str, provider: StandIn, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckApi(refused=("a-model",)) as api:
        _guard(monkeypatch, api)
        instrument(on_limit=lambda refusal, model: "another-model")
        call(url)
        assert [question["model"] for question in api.asked] == ["a-model", "another-model"]
    span = said(spans.one())
    assert (span["gen_ai.request.model"], span["spanledger.model.instead_of"]) == ("another-model", "a-model")
    assert span["spanledger.hold.id"] == "hold-2"
    sent = provider.seen[-1]
    assert "another-model" in sent.path + sent.content.decode()
    assert "a-model" not in sent.path + sent.content.decode()


@pytest.mark.parametrize("call", [call for call in CALLS if call is not _voyage], ids=lambda call: call.__name__.strip("_"))
def test_what_was_said_is_recorded_only_when_asked_for_and_as_the_hook_decides(
    call: Callable[[str], Any], url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("gen_ai.input.messages", "gen_ai.output.messages")
    call(url)
    assert not said(spans.one()).keys() & set(names)
    spans.clear()
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    instrument()
    call(url)
    span = said(spans.one())
    assert [part["content"] for message in json.loads(span[names[0]]) for part in message["parts"]] == [PROMPT]
    [answered] = json.loads(span[names[1]])
    assert answered["parts"][0]["content"].startswith("Every call is counted once")
    spans.clear()
    instrument(redact=lambda messages: [{"role": message["role"], "parts": []} for message in messages])
    call(url)
    assert {name: json.loads(said(spans.one())[name])[0]["parts"] for name in names} == {name: [] for name in names}
