"""Who is paid, however emitters spell it: every value that was seen."""

import json
from typing import Any

import pytest

from spanledger.collector.recognise.names import bare_model, family, provider_at
from spanledger.ledger.providers import provider, provider_of_model
from tests.dialects.bodies import received
from tests.dialects.counting import entries_of, standing
from tests.dialects.spans import body_of, chat

_SEEN = {
    "openai": "openai OpenAI openai.chat openai.responses openai.embedding openai.completion openai-chat",
    "anthropic": "anthropic Anthropic anthropic.messages firstParty",
    "gcp.gemini": "gcp.gemini gemini google-gla",
    "gcp.gen_ai": "gcp.gen_ai google google.generative-ai Google gcp.vertex.agent",
    "gcp.vertex_ai": "gcp.vertex_ai vertex_ai google.vertex.chat google-vertex vertex_ai_beta",
    "aws.bedrock": "aws.bedrock aws_bedrock aws bedrock amazon-bedrock",
    "azure.ai.openai": "azure.ai.openai az.ai.openai azure azure-openai.chat",
    "azure.ai.inference": "azure.ai.inference az.ai.inference",
    "cohere": "cohere cohere.chat cohere_chat",
    "ibm.watsonx.ai": "ibm.watsonx.ai",
    "perplexity": "perplexity perplexity.chat",
    "x_ai": "x_ai xai xai.chat grok",
    "deepseek": "deepseek deepseek.chat",
    "groq": "groq groq.chat",
    "mistral_ai": "mistral_ai mistral mistral.chat",
    "moonshot_ai": "moonshot_ai moonshotai.chat",
    "together": "together together_ai togetherai.chat",
    "fireworks": "fireworks fireworks_ai",
    "some.new.provider": "some.new.provider",
}


def test_every_spelling_of_a_provider_that_was_seen_is_read() -> None:
    found = {said: provider(said) for said in " ".join(_SEEN.values()).split()}
    assert found == {said: name for name, spellings in _SEEN.items() for said in spellings.split()}


def test_frameworks_and_gateways_are_nobody_who_is_paid() -> None:
    named = "strands-agents microsoft.agent_framework langchain langgraph crewai spring_ai github litellm"
    assert {provider(name) for name in named.split()} == {None}


@pytest.mark.parametrize(
    ("model", "paid", "kind"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws.bedrock", "bedrock"),
        ("claude-sonnet-4-5", "anthropic", "anthropic"),
        ("gpt-5-mini-2025-08-07", "openai", "openai"),
        ("models/gemini-2.5-flash", "gcp.gen_ai", "google"),
        ("mistral-large-latest", "mistral_ai", "openai"),
        ("grok-4", "x_ai", "openai"),
        ("of-our-own", None, "other"),
    ],
)
def test_a_models_name_tells_its_provider_and_what_that_calls_input(model: str, paid: str | None, kind: str) -> None:
    assert (provider_of_model(model), family((paid, model))) == (paid, kind)


def test_claude_on_vertex_counts_as_anthropic_does_and_on_bedrock_as_bedrock_does() -> None:
    model = "claude-sonnet-4-5@20250929"
    assert [family((paid, model)) for paid in ("gcp.vertex_ai", "anthropic", "aws.bedrock")] == [
        "anthropic",
        "anthropic",
        "bedrock",
    ]


def test_a_host_tells_the_cloud_from_the_vendor() -> None:
    hosts = (
        "my.openai.azure.com",
        "bedrock-runtime.eu-west-1.amazonaws.com",
        "europe-west4-aiplatform.googleapis.com",
        "localhost",
    )
    assert [provider_at(host) for host in hosts] == ["azure.ai.openai", "aws.bedrock", "gcp.vertex_ai", None]


def test_names_of_one_model_are_equal_without_vendor_region_date_and_version() -> None:
    spelled = ("anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4.5",
               "anthropic/claude-sonnet-4-5@20250929")  # fmt: skip
    assert {bare_model(name) for name in spelled} == {"claude-sonnet-4-5"}


ARN = "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.mark.parametrize(
    ("attributes", "region"),
    [
        ({"gen_ai.request.model": ARN}, "us-gov-west-1"),
        ({"gen_ai.request.model": ARN, "gen_ai.response.model": "claude-sonnet-4-5-20250929"}, "us-gov-west-1"),
        ({"gen_ai.request.model": ARN, "aws.region": "us-gov-east-1"}, "us-gov-east-1"),
        ({"gen_ai.request.model": ARN, "server.address": "bedrock-runtime.eu-west-1.amazonaws.com"}, "us-gov-west-1"),
        ({"gen_ai.request.model": "arn:aws:bedrock"}, None),
        ({"gen_ai.request.model": "arn:::::"}, None),
        ({"gen_ai.request.model": "gpt-4o"}, None),
    ],
)
def test_the_region_of_an_arn_is_the_calls(attributes: dict[str, Any], region: str | None) -> None:
    body = body_of(chat(attributes={"gen_ai.provider.name": "aws.bedrock", **attributes}))
    (call,) = standing(entries_of([[received(json.loads(body.body), "traces")]]))
    assert call["region"] == region
