"""Anthropic's clients for Bedrock, Vertex AI and Foundry, and its tool runner."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.clients.styles import WRITING, WRITTEN, Spans, Style, gathered, raised, said, usage

anthropic = pytest.importorskip("anthropic")
CLAUDE = "anthropic.claude-sonnet-4-5-v1:0"
KEPT = {
    **WRITTEN,
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 15,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 5,
}
ASK: dict[str, Any] = {"model": CLAUDE, "max_tokens": 500, "messages": [{"role": "user", "content": WRITING}]}


def made(name: str, url: str) -> Any:
    """A client of this name, with credentials that are none."""
    kind = getattr(anthropic, name, None)
    if kind is None:
        pytest.skip(f"this version of the SDK has no {name}")
    if "Bedrock" in name:
        pytest.importorskip("botocore")
        keys = {"aws_access_key": "any", "aws_secret_key": "any", "aws_region": "eu-west-1"}
        return kind(base_url=url, max_retries=0, **keys)
    if "Vertex" in name:
        return kind(base_url=url + "/v1", region="europe-west1", project_id="any", access_token="any", max_retries=0)
    return kind(base_url=url + "/anthropic", api_key="any", max_retries=0)


def plain(client: Any, **more: Any) -> Any:
    return client.messages.create(**{**ASK, **more})


def stream(client: Any) -> Any:
    return list(client.messages.create(**ASK, stream=True))


def final(client: Any) -> Any:
    with client.messages.stream(**ASK) as events:
        return events.get_final_message()


def raw_bytes(client: Any) -> Any:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        return len(b"".join(response.iter_bytes())) > 1000


def fails(client: Any) -> Any:
    return type(raised(lambda: plain(client, model="fail-429"))).__name__


def breaks(client: Any) -> Any:
    def read() -> None:
        for _ in client.messages.create(**{**ASK, "model": "error-stream"}, stream=True):
            pass

    return type(raised(read)).__name__


def left(client: Any) -> Any:
    with client.messages.stream(**ASK) as events:
        return next(iter(events)).type


def sync(name: str, use: Callable[[Any], Any]) -> Callable[[str], Any]:
    def run(url: str) -> Any:
        with made(name, url) as client:
            return use(client)

    return run


async def async_plain(client: Any) -> Any:
    return await client.messages.create(**ASK)


async def async_stream(client: Any) -> Any:
    return await gathered(await client.messages.create(**ASK, stream=True))


def wait(name: str, use: Callable[[Any], Any]) -> Callable[[str], Any]:
    async def go(url: str) -> Any:
        async with made(name, url) as client:
            return await use(client)

    return lambda url: asyncio.run(go(url))


CLOUDS = {"Bedrock": "aws.bedrock", "Vertex": "gcp.vertex_ai", "Foundry": "azure.ai.inference"}
STYLES = [
    style
    for cloud, provider in CLOUDS.items()
    for whole in (
        partial(
            Style,
            said={
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": CLAUDE,
                "gen_ai.response.finish_reasons": ("end_turn",),
            },
            usage=KEPT,
        ),
    )
    for style in (
        whole(name=f"{cloud} plain", use=sync(f"Anthropic{cloud}", plain)),
        whole(name=f"{cloud} stream", use=sync(f"Anthropic{cloud}", stream)),
        whole(name=f"{cloud} final message of a stream", use=sync(f"Anthropic{cloud}", final)),
        whole(name=f"{cloud} bytes of a stream", use=sync(f"Anthropic{cloud}", raw_bytes)),
        whole(name=f"{cloud} async plain", use=wait(f"AsyncAnthropic{cloud}", async_plain)),
        whole(name=f"{cloud} async stream", use=wait(f"AsyncAnthropic{cloud}", async_stream)),
        Style(
            name=f"{cloud} cut_short stream",
            use=sync(f"Anthropic{cloud}", left),
            said={"spanledger.stream.cut_short": True, "gen_ai.usage.input_tokens": 100},
            usage=None,
        ),
    )
] + [
    Style(name="Bedrock fails", use=sync("AnthropicBedrock", fails), usage={}, error="429"),
    Style(name="Bedrock breaks off", use=sync("AnthropicBedrock", breaks), usage=None, error="modelStreamErrorException"),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_a_call_through_a_cloud_is_one_span_of_that_cloud(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def run_tools(url: str) -> Any:
    from anthropic import beta_tool

    @beta_tool
    def clock() -> str:
        """Tell the time."""
        return "noon"

    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
        return [
            (message.stop_reason, message.usage.output_tokens, message.id)
            for message in client.beta.messages.tool_runner(**ASK, tools=[clock])
        ]


def test_each_turn_of_the_tool_runner_is_one_call_of_its_own(url: str, spans: Spans) -> None:
    if not hasattr(anthropic, "beta_tool"):
        pytest.skip("this version of the SDK has no tool runner")
    turns = run_tools(url)
    assert [reason for reason, _, _ in turns] == ["tool_use", "end_turn"]
    calls = [said(span) for span in spans.all() if "gen_ai.usage.input_tokens" in said(span)]
    assert [call["gen_ai.response.id"] for call in calls] == [number for _, _, number in turns]
    assert [call["gen_ai.usage.output_tokens"] for call in calls] == [output for _, output, _ in turns]
    assert usage(spans.all()[0]) == KEPT
