"""Dialects of which there is no sample, written from their description: one call of C1 (1000 input of which 600 read from the
cache and 100 written to it, 200 output of which 128 reasoning) must come out of each as what its emitter can tell."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.collector.assumptions import CachedInput, assumed
from spanledger.collector.decode import decode
from spanledger.collector.recognise import recognise
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from tests.dialects.bodies import received
from tests.dialects.counting import entries_of, standing
from tests.dialects.spans import Span, body_of, chat

_CLAUDE = "claude-sonnet-4-5-20250929"
_ADK_RESPONSE = json.dumps(
    {"usage_metadata": {"prompt_token_count": 1000, "candidates_token_count": 72, "thoughts_token_count": 128,
                        "cached_content_token_count": 600, "total_token_count": 1200}}
)  # fmt: skip
_LITELLM_REPR = str({"completion_tokens": 200, "prompt_tokens": 1000,
                     "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100}})  # fmt: skip


def _usage(input_tokens: Any, output_tokens: Any, **more: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": input_tokens, "gen_ai.usage.output_tokens": output_tokens,
        **{name.replace("__", "."): value for name, value in more.items()},
    }  # fmt: skip


def _of(provider: str, model: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {"gen_ai.system": provider, "gen_ai.request.model": model, **attributes}


#: case → span, and (input, cache read, cache write, output, reasoning), None where the emitter does not tell.
CASES: dict[str, tuple[Span, tuple[int | None, ...]]] = {
    "pydantic-ai 1.20": (
        Span(scope="pydantic-ai", version="1.20.0", attributes=_of("openai", "gpt-4o-mini", _usage(
            1000, 200, **{"gen_ai.usage.details.cache_read_tokens": 600, "gen_ai.usage.details.reasoning_tokens": 128}))),
        (1000, 600, None, 200, 128),
    ),
    "openllmetry 0.33, Anthropic": (
        Span(scope="opentelemetry.instrumentation.anthropic", version="0.33.12", attributes={
            "llm.request.type": "chat", "gen_ai.system": "Anthropic", "gen_ai.request.model": _CLAUDE,
                "gen_ai.usage.prompt_tokens": 1000,
            "gen_ai.usage.completion_tokens": 200, "llm.usage.total_tokens": 1200, "gen_ai.usage.cache_read_input_tokens": 600,
            "gen_ai.usage.cache_creation_input_tokens": 100}),
        (1000, 600, 100, 200, None),
    ),
    "openllmetry Google": (
        Span(scope="opentelemetry.instrumentation.google_generativeai", attributes=_of("Google", "gemini-2.5-flash", _usage(
            1000, 72, **{"gen_ai.usage.total_tokens": 1200, "gen_ai.usage.cache_read.input_tokens": 600}))),
        (1000, 600, None, 200, 128),
    ),
    "vercel 4, Anthropic": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "anthropic.messages", "ai.model.id": _CLAUDE,
            "ai.usage.promptTokens": 300, "ai.usage.completionTokens": 200, "ai.response.providerMetadata": json.dumps(
                {"anthropic": {"cacheReadInputTokens": 600, "cacheCreationInputTokens": 100}})}),
        (1000, 600, 100, 200, None),
    ),
    "vercel 4, Google loses thoughts": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "google.generative-ai",
                "ai.model.id": "gemini-2.5-flash",
            "ai.usage.promptTokens": 1000, "ai.usage.completionTokens": 72}),
        (1000, None, None, 72, None),
    ),
    "vercel 5, Google stream": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.streamText.doStream", "ai.model.provider": "google.generative-ai",
                "ai.model.id": "gemini-2.5-flash",
            "ai.usage.inputTokens": 1000, "ai.usage.outputTokens": 72, "ai.usage.reasoningTokens": 128,
                "ai.usage.cachedInputTokens": 600}),
        (1000, 600, None, 200, 128),
    ),
    "vercel 6, Anthropic": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "anthropic.messages", "ai.model.id": _CLAUDE,
            "ai.usage.inputTokens": 1000, "ai.usage.outputTokens": 200, "ai.usage.inputTokenDetails.noCacheTokens": 300,
            "ai.usage.inputTokenDetails.cacheReadTokens": 600, "ai.usage.inputTokenDetails.cacheWriteTokens": 100}),
        (1000, 600, 100, 200, None),
    ),
    "litellm v2": (
        Span(scope="litellm", attributes=_of("anthropic", _CLAUDE, _usage(1000, 200, **{
            "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 200,
                "gen_ai.usage.cache_read.input_tokens": 600,
            "gen_ai.usage.cache_creation.input_tokens": 100, "litellm.cost.total": 0.004545}))),
        (1000, 600, 100, 200, None),
    ),
    "litellm, details in a Python repr": (
        Span(scope="litellm", attributes=_of("openai", "gpt-4o-mini", _usage(1000, 200,
            **{"metadata.usage_object": _LITELLM_REPR}))),
        (1000, 600, 100, 200, None),
    ),
    "mlflow by the conventions": (
        Span(scope="mlflow.tracing.provider", attributes={"gen_ai.request.model": "gpt-4o-mini-2024-07-18", **_usage(1000, 200)}),
        (1000, None, None, 200, None),
    ),
    "langsmith": (
        Span(scope="langsmith", attributes={
            "langsmith.span.kind": "llm", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-mini", **_usage(1000, 200),
            "langsmith.metadata.usage_metadata": json.dumps({"input_tokens": 1000, "output_tokens": 200, "input_token_details": {
                "cache_read": 600, "cache_creation": 100}, "output_token_details": {"reasoning": 128}})}),
        (1000, 600, 100, 200, 128),
    ),
    "google adk 1.14": (
        Span(scope="gcp.vertex.agent", name="call_llm", attributes={
            "gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "gemini-2.5-flash", "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 72, "gcp.vertex.agent.llm_response": _ADK_RESPONSE}),
        (1000, 600, None, 200, 128),
    ),
    "strands 0.2": (
        Span(scope="strands.telemetry.tracer", name="Model invoke", attributes={
            "gen_ai.operation.name": "chat", "gen_ai.system": "strands-agents", "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 200}),
        (1000, None, None, 200, None),
    ),
    "ag2, Anthropic": (
        Span(scope="opentelemetry.instrumentation.ag2", attributes={"ag2.span.type": "llm", "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": _CLAUDE, **_usage(300, 200, **{"gen_ai.usage.cache_read_input_tokens": 600,
            "gen_ai.usage.cache_creation_input_tokens": 100, "gen_ai.usage.thinking_tokens": 128})}),
        (1000, 600, 100, 200, 128),
    ),
    "ag2 compaction is a call of its own": (
        Span(scope="opentelemetry.instrumentation.ag2", attributes={"ag2.span.type": "usage", "ag2.usage.kind": "compaction",
            "gen_ai.provider.name": "openai", "gen_ai.response.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 200}),
        (1000, None, None, 200, None),
    ),
    "logfire before #1812": (
        Span(scope="logfire.anthropic", version="4.1.0", attributes=_of("anthropic", _CLAUDE, _usage(300, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_creation.input_tokens": 100}))),
        (1000, 600, 100, 200, None),
    ),
    "spring ai 2": (
        Span(scope="org.springframework.boot", version="4.0.0", attributes=_of("openai", "gpt-4o-mini", _usage("1000", "200", **{
            "gen_ai.usage.cache_read.input_tokens": "600", "gen_ai.usage.cache_creation.input_tokens": "100"}))),
        (1000, 600, 100, 200, None),
    ),
    "copilot cli": (
        Span(scope="github.copilot", attributes=_of("openai", "gpt-5-mini", _usage(1000, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.reasoning.output_tokens": 128}))),
        (1000, 600, 100, 200, 128),
    ),
    "vs code copilot": (
        Span(scope="copilot-chat", attributes=_of("github", "gpt-5-mini", _usage(1000, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.reasoning_tokens": 128}))),
        (1000, 600, None, 200, 128),
    ),
    "sentry": (
        Span(scope="sentry.python", attributes=_of("openai", "gpt-4o-mini", _usage(1000, 200, **{
            "gen_ai.usage.input_tokens.cached": 600, "gen_ai.usage.input_tokens.cache_write": 100,
            "gen_ai.usage.output_tokens.reasoning": 128}))),
        (1000, 600, 100, 200, 128),
    ),
    "opencode": (
        Span(scope="opencode", attributes=_of("anthropic", _CLAUDE, _usage(1000, 200,
            **{"gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.cache_read.input_tokens": 600, "opencode.llm.cost.total": 0.0045}))),
        (1000, 600, 100, 200, None),
    ),
    "conventions before 1.27": (
        Span(attributes=_of("openai", "gpt-4", {"gen_ai.operation.name": "chat", "gen_ai.usage.prompt_tokens": 1000,
                                                "gen_ai.usage.completion_tokens": 200})),
        (1000, None, None, 200, None),
    ),
    "unknown emitter whose numbers prove that the cache stands apart": (
        Span(attributes=_of("anthropic", _CLAUDE, _usage(300, 200, **{"gen_ai.usage.cache_read.input_tokens": 600,
                                                                     "gen_ai.usage.cache_creation.input_tokens": 100}))),
        (1000, 600, 100, 200, None),
    ),
    "google genai by the conventions": (
        Span(scope="opentelemetry.instrumentation.google_genai", attributes=_of("gemini", "gemini-2.5-flash", {
            **_usage(1000, 200, **{"gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.reasoning.output_tokens": 128}),
            "gen_ai.operation.name": "generate_content", "gen_ai.usage.text.output_tokens": 72})),
        (1000, 600, None, 200, 128),
    ),
    "spanledger's own": (
        Span(scope="spanledger.instrumentation", attributes=_of("anthropic", _CLAUDE, _usage(1000, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.reasoning.output_tokens": 128}))),
        (1000, 600, 100, 200, 128),
    ),
    "anthropic compaction is outside the usage": (
        Span(scope="com.anthropic.sdk.python", attributes=_of("anthropic", _CLAUDE, _usage(900, 150, **{
            "anthropic.usage.compaction.input_tokens": 100, "anthropic.usage.compaction.output_tokens": 50}))),
        (1000, None, None, 200, None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_dialect_without_a_sample_is_read_as_its_description_says(case: str) -> None:
    span, expected = CASES[case]
    (call,) = standing(entries_of([[body_of(span)]]))
    told = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    assert tuple(call[name] for name in told) == expected


@pytest.mark.parametrize(
    ("attributes", "provider"),
    [
        (
            {"gen_ai.system": "strands-agents", "gen_ai.request.model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
            "aws.bedrock",
        ),
        ({"gen_ai.system": "github", "gen_ai.request.model": "claude-sonnet-4.5"}, "anthropic"),
        ({"gen_ai.provider.name": "openai", "server.address": "my.openai.azure.com"}, "azure.ai.openai"),
        ({"gen_ai.provider.name": "openai", "server.address": "api.groq.com"}, "groq"),
        ({"gen_ai.system": "az.ai.openai"}, "azure.ai.openai"),
        ({"gen_ai.system": "vertex_ai"}, "gcp.vertex_ai"),
        ({"gen_ai.provider.name": "some.new.provider"}, "some.new.provider"),
    ],
)
def test_who_is_paid_is_told_by_name_address_and_model(attributes: dict[str, Any], provider: str) -> None:
    (call,) = standing(entries_of([[body_of(Span(attributes={**_usage(10, 5), **attributes}))]]))
    assert call["provider"] == provider


def test_what_was_assumed_is_listed_with_the_line_that_settles_it(tmp_path: Path) -> None:
    span = Span(
        scope="my.app",
        version="2",
        attributes=_of("anthropic", _CLAUDE, _usage(700, 200, **{"gen_ai.usage.cache_read.input_tokens": 600})),
    )
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(conform(entries_of([[body_of(span)]]).with_columns(cost_state=pl.lit("unpriced"))), 1)
    with connect(tmp_path) as connection:
        (found,) = assumed(connection)
    assert (found.scope, found.version, found.provider, found.calls) == ("my.app", "2", "anthropic", 1)
    assert found.line.startswith("- {scope: 'my.app', provider: 'anthropic', where: inside}")
    settled = [CachedInput(scope="my.app", provider="anthropic", where="outside")]
    row = recognise(decode([body_of(span)]), None, settled).row(0, named=True)
    assert (row["input_tokens"], row["flags"]) == (1300, [])


def test_a_whole_that_nobody_has_seen_is_flagged_and_one_without_cache_is_not() -> None:
    unknown = _of("anthropic", _CLAUDE, _usage(1000, 200, **{"gen_ai.usage.cache_read.input_tokens": 600}))
    (call,) = standing(entries_of([[body_of(Span(attributes=unknown))]]))
    assert call["flags"] == ["semantics_assumed"]
    plain = _of("anthropic", _CLAUDE, _usage(1000, 200, **{"gen_ai.usage.cache_read.input_tokens": 0}))
    (call,) = standing(entries_of([[body_of(Span(attributes=plain))]]))
    assert call["flags"] == []


def test_labels_in_one_value_become_tags_and_dimensions() -> None:
    metadata = '{"team": "red", "tier": 2, "tenant": "acme", "deep": {"a": 1}, "ls_provider": "openai", "beta": true}'
    span = chat(attributes={"metadata": metadata, "tag.tags": ["urgent", "cost:centre-7"]})
    (call,) = standing(entries_of([[body_of(span)]]))
    assert {tag["key"]: tag["value"] for tag in call["tags"]} == {
        "team": "red", "tier": "2", "tenant": "acme", "beta": "true", "urgent": "true", "cost": "centre-7",
    }  # fmt: skip
    assert call["tenant"] == "acme"


@pytest.mark.parametrize("metadata", ["{", "[1", "[]", '"a"', "{" * 5000, '{"a": null, "": "b"}', "[" * 100_000])
def test_metadata_that_is_no_object_disturbs_nothing(metadata: str) -> None:
    (call,) = standing(entries_of([[body_of(chat(attributes={"metadata": metadata, "tag.tags": metadata}))]]))
    assert (call["input_tokens"], [tag for tag in call["tags"] if tag["key"]]) == (1000, [])


def test_a_map_as_an_attribute_leaves_the_others_readable() -> None:
    request = json.loads(body_of(chat(attributes={"spanledger.tenant": "acme"})).body)
    pairs = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    pairs.insert(0, {"key": "a.map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}}})
    (call,) = standing(entries_of([[received(request, "traces")]]))
    assert (call["input_tokens"], call["tenant"]) == (1000, "acme")
