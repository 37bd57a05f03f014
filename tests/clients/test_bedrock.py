"""Amazon Bedrock through boto3 and aiobotocore: Converse and InvokeModel, plain and streamed."""

import gc
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.clients.styles import INPUT, WRITING, WRITTEN, Spans, Style, gathered, raised, said, usage, waited

boto3 = pytest.importorskip("boto3")

MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
CUT = {"spanledger.stream.cut_short": True}
MESSAGES = [{"role": "user", "content": [{"text": WRITING}]}]
ASK: dict[str, Any] = {"modelId": MODEL, "messages": MESSAGES}
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "messages": [{"role": "user", "content": WRITING}]})
WHO = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "aws.bedrock",
    "gen_ai.request.model": MODEL,
    "cloud.region": "eu-west-1",
    "server.address": "127.0.0.1",
}
CONVERSED: dict[str, Any] = {**WHO, "gen_ai.response.finish_reasons": ("end_turn",)}


def _known(shape: str) -> set[str]:
    """What the installed client knows of an answer; it leaves out what it does not know."""
    model = boto3.Session(region_name="eu-west-1").client("bedrock-runtime").meta.service_model
    return set(model.shape_for(shape).members)


#: Streams are read from their bytes, so that all is seen which the server says.
STREAMED_USAGE = {
    **WRITTEN,
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 15,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 5,
}
CONVERSED_USAGE = STREAMED_USAGE if "cacheDetails" in _known("TokenUsage") else WRITTEN
if "serviceTier" in _known("ConverseResponse"):
    CONVERSED["gen_ai.response.service_tier"] = "default"


def options(url: str) -> dict[str, Any]:
    config = pytest.importorskip("botocore.config").Config(retries={"total_max_attempts": 1}, read_timeout=30)
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "eu-west-1"}
    return {"service_name": "bedrock-runtime", "endpoint_url": url, "config": config, **keys}


@cache
def client(url: str) -> Any:
    """One for all: to make one takes a second, and metering reaches those that are there already."""
    return boto3.Session().client(**options(url))


@cache
def _session() -> Any:
    return pytest.importorskip("aiobotocore.session").get_session()


def use(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    return lambda url: what(client(url))


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        session = _session()

        async def go() -> Any:
            named = options(url)
            name = named.pop("service_name")
            named.pop("config")
            config = pytest.importorskip("aiobotocore.config").AioConfig(retries={"total_max_attempts": 1})
            async with session.create_client(name, config=config, **named) as client:
                return await what(client)

        return waited(go)

    return run


def converse(c: Any, model: str = MODEL) -> Any:
    return c.converse(**{**ASK, "modelId": model, "inferenceConfig": {"maxTokens": 900, "temperature": 0.5}})


def stream(c: Any, model: str = MODEL) -> Any:
    return list(c.converse_stream(**{**ASK, "modelId": model})["stream"])


def closed(c: Any) -> Any:
    events = c.converse_stream(**ASK)["stream"]
    first = next(iter(events))
    events.close()
    return first


def dropped(c: Any) -> Any:
    for event in c.converse_stream(**ASK)["stream"]:
        return event
    raise AssertionError


def invoke(c: Any, model: str = MODEL, body: str = BODY) -> Any:
    answered = c.invoke_model(modelId=model, body=body)
    return [answered["contentType"], answered["body"].read(), type(answered["body"]).__name__]


def invoke_stream(c: Any) -> Any:
    answered = c.invoke_model_with_response_stream(modelId=MODEL, body=BODY)
    return [type(answered["body"]).__name__, list(answered["body"])]


async def async_converse(c: Any) -> Any:
    return await c.converse(**ASK)


async def async_stream(c: Any) -> Any:
    return await gathered((await c.converse_stream(**ASK))["stream"])


async def async_invoke(c: Any) -> Any:
    answered = await c.invoke_model(modelId=MODEL, body=BODY)
    return await answered["body"].read()


async def async_invoke_stream(c: Any) -> Any:
    return await gathered((await c.invoke_model_with_response_stream(modelId=MODEL, body=BODY))["body"])


async def async_dropped(c: Any) -> Any:
    events = (await c.converse_stream(**ASK))["stream"]
    async for event in events:
        events.close()
        return event
    raise AssertionError


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: converse(c, f"fail-{status}"))


STREAMED = {**CONVERSED, "gen_ai.request.stream": True, "gen_ai.response.service_tier": "default"}
STYLES = [
    Style(
        name="converse",
        use=use(converse),
        said={**CONVERSED, "gen_ai.request.max_tokens": 900, "gen_ai.request.temperature": 0.5},
        usage=CONVERSED_USAGE,
    ),
    Style(name="converse stream", use=use(stream), said=STREAMED, usage=STREAMED_USAGE),
    Style(name="invoke", use=use(invoke), said=WHO, usage=WRITTEN),
    Style(name="invoke stream", use=use(invoke_stream), said={**WHO, "gen_ai.request.stream": True}, usage=WRITTEN),
    Style(
        name="embeddings",
        use=use(lambda c: invoke(c, "amazon.titan-embed-text-v2:0", json.dumps({"inputText": "[[input=100 output=0]]"}))),
        said={**WHO, "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "amazon.titan-embed-text-v2:0"},
        usage={**INPUT, "gen_ai.usage.output_tokens": 0},
    ),
    Style(name="closed early", use=use(closed), said={**WHO, **CUT}, usage=None),
    Style(name="dropped", use=use(dropped), said={**WHO, **CUT}, usage=None),
    Style(name="async converse", use=wait(async_converse), said=CONVERSED, usage=CONVERSED_USAGE),
    Style(name="async converse stream", use=wait(async_stream), said=STREAMED, usage=STREAMED_USAGE),
    Style(name="async invoke", use=wait(async_invoke), said=WHO, usage=WRITTEN),
    Style(name="async invoke stream", use=wait(async_invoke_stream), said=WHO, usage=WRITTEN),
    Style(name="async closed early", use=wait(async_dropped), said={**WHO, **CUT}, usage=None),
    *(
        Style(name=f"fails with {status}", use=use(failing(status)), error=kind)
        for status, kind in ((429, "ThrottlingException"), (400, "ValidationException"), (500, "InternalServerException"))
    ),
    Style(
        name="stream fails in the middle",
        use=use(lambda c: raised(lambda: stream(c, "error-stream"))),
        said=CUT,
        error="modelStreamErrorException",
    ),
    Style(name="stream cut off", use=use(lambda c: raised(lambda: stream(c, "cut-stream"))), said=CUT, error="ProtocolError"),
]  # fmt: skip


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_stream_that_is_never_read_and_is_dropped_ends_its_call(url: str, spans: Spans) -> None:
    answered = client(url).converse_stream(**ASK)
    del answered
    gc.collect()
    assert said(spans.one())["spanledger.stream.cut_short"] is True


def test_other_services_and_other_operations_are_no_calls(url: str, spans: Spans) -> None:
    ClientError = pytest.importorskip("botocore.exceptions").ClientError
    with pytest.raises(ClientError):
        boto3.Session().client(**{**options(url), "service_name": "bedrock"}).list_foundation_models()
    with pytest.raises(ClientError):
        client(url).count_tokens(modelId=MODEL, input={"converse": {"messages": MESSAGES}})
    assert spans.all() == []


def test_aioboto3_is_metered_through_the_same_method(url: str, spans: Spans) -> None:
    aioboto3 = pytest.importorskip("aioboto3")

    async def go() -> None:
        async with aioboto3.Session().client(**options(url)) as client:
            await client.converse(**ASK)

    waited(go)
    assert usage(spans.one()) == CONVERSED_USAGE
