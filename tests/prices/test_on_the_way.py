"""From what telemetry says to what the ledger says a call costs: names that recognition must leave as they are."""

import pytest

from spanledger.collector.decode.decode import decode
from spanledger.collector.recognise.recognise import recognise
from spanledger.prices import Prices
from tests.dialects.spans import body_of, chat

PRICES = Prices()


@pytest.mark.parametrize(
    ("provider", "model", "priced_as"),
    [
        ("openrouter", "openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("openrouter", "openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("openrouter", "openai/gpt-4o:online", "openrouter/openai/gpt-4o"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "openrouter/anthropic/claude-sonnet-4.5"),
        ("openrouter", "openrouter/auto", None),
        ("groq", "openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
        ("together", "mistralai/Mixtral-8x7B-Instruct-v0.1", "together/mistralai/Mixtral-8x7B-Instruct-v0.1"),
        ("openai", "openai/gpt-4o", "openai/gpt-4o"),
        ("gcp.vertex_ai", "vertex_ai/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("azure.ai.openai", "azure/eu/gpt-4o", "openai/gpt-4o"),
    ],
)
def test_a_model_is_priced_as_what_it_was_sent_as(provider: str, model: str, priced_as: str | None) -> None:
    attributes = {"gen_ai.provider.name": provider, "gen_ai.request.model": model, "gen_ai.response.model": model}
    evidence = recognise(decode([body_of(chat(id="a", attributes=attributes))]))
    assert PRICES.price(evidence)["priced_as"].to_list() == [priced_as]
