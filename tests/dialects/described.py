"""Calls by emitters of which there is no sample, written from their sources and documents: each is C1, that is 1000 input of
which 600 were read from a cache and 100 written to it, and 200 output of which 128 reasoning."""

import json
from typing import Any

from tests.dialects.spans import Span

CLAUDE = "claude-sonnet-4-5-20250929"
_ADK_RESPONSE = json.dumps(
    {"usage_metadata": {"prompt_token_count": 1000, "candidates_token_count": 72, "thoughts_token_count": 128,
                        "cached_content_token_count": 600, "total_token_count": 1200}}
)  # fmt: skip
_LITELLM_REPR = str({"completion_tokens": 200, "prompt_tokens": 1000,
                     "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100}})  # fmt: skip


def usage(input_tokens: Any, output_tokens: Any, **more: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": input_tokens, "gen_ai.usage.output_tokens": output_tokens,
        **{name.replace("__", "."): value for name, value in more.items()},
    }  # fmt: skip


def of(provider: str, model: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {"gen_ai.system": provider, "gen_ai.request.model": model, **attributes}


#: case → span, and (input, cache read, cache write, output, reasoning), None where the emitter does not tell.
CASES: dict[str, tuple[Span, tuple[int | None, ...]]] = {
    "pydantic-ai 1.20": (
        Span(scope="pydantic-ai", version="1.20.0", attributes=of("openai", "gpt-4o-mini", usage(
            1000, 200, **{"gen_ai.usage.details.cache_read_tokens": 600, "gen_ai.usage.details.reasoning_tokens": 128}))),
        (1000, 600, None, 200, 128),
    ),
    "openllmetry 0.33, Anthropic": (
        Span(scope="opentelemetry.instrumentation.anthropic", version="0.33.12", attributes={
            "llm.request.type": "chat", "gen_ai.system": "Anthropic", "gen_ai.request.model": CLAUDE,
                "gen_ai.usage.prompt_tokens": 1000,
            "gen_ai.usage.completion_tokens": 200, "llm.usage.total_tokens": 1200, "gen_ai.usage.cache_read_input_tokens": 600,
            "gen_ai.usage.cache_creation_input_tokens": 100}),
        (1000, 600, 100, 200, None),
    ),
    "openllmetry Google": (
        Span(scope="opentelemetry.instrumentation.google_generativeai", attributes=of("Google", "gemini-2.5-flash", usage(
            1000, 72, **{"gen_ai.usage.total_tokens": 1200, "gen_ai.usage.cache_read.input_tokens": 600}))),
        (1000, 600, None, 200, 128),
    ),
    "vercel 4, Anthropic": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "anthropic.messages", "ai.model.id": CLAUDE,
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
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "anthropic.messages", "ai.model.id": CLAUDE,
            "ai.usage.inputTokens": 1000, "ai.usage.outputTokens": 200, "ai.usage.inputTokenDetails.noCacheTokens": 300,
            "ai.usage.inputTokenDetails.cacheReadTokens": 600, "ai.usage.inputTokenDetails.cacheWriteTokens": 100}),
        (1000, 600, 100, 200, None),
    ),
    "litellm v2": (
        Span(scope="litellm", attributes=of("anthropic", CLAUDE, usage(1000, 200, **{
            "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 200,
                "gen_ai.usage.cache_read.input_tokens": 600,
            "gen_ai.usage.cache_creation.input_tokens": 100, "litellm.cost.total": 0.004545}))),
        (1000, 600, 100, 200, None),
    ),
    "litellm that names no operation": (
        Span(scope="litellm", name="litellm_request", attributes=of("openai", "gpt-4o-mini", {
            "llm.request.type": "acompletion", "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 200})),
        (1000, None, None, 200, None),
    ),
    "litellm, details in a Python repr": (
        Span(scope="litellm", attributes=of("openai", "gpt-4o-mini", usage(1000, 200,
            **{"metadata.usage_object": _LITELLM_REPR}))),
        (1000, 600, 100, 200, None),
    ),
    "mlflow by the conventions": (
        Span(scope="mlflow.tracing.provider", attributes={"gen_ai.request.model": "gpt-4o-mini-2024-07-18", **usage(1000, 200)}),
        (1000, None, None, 200, None),
    ),
    "langsmith": (
        Span(scope="langsmith", attributes={
            "langsmith.span.kind": "llm", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-mini", **usage(1000, 200),
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
            "gen_ai.request.model": CLAUDE, **usage(300, 200, **{"gen_ai.usage.cache_read_input_tokens": 600,
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
        Span(scope="logfire.anthropic", version="4.9.1", attributes=of("anthropic", CLAUDE, usage(700, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 200, "gen_ai.usage.cache_creation.input_tokens": 100}))),
        (1000, 200, 100, 200, None),
    ),
    "spring ai 2": (
        Span(scope="org.springframework.boot", version="4.0.0", attributes=of("openai", "gpt-4o-mini", usage("1000", "200", **{
            "gen_ai.usage.cache_read.input_tokens": "600", "gen_ai.usage.cache_creation.input_tokens": "100"}))),
        (1000, 600, 100, 200, None),
    ),
    "spring ai 2, an embedding as it calls it": (
        Span(scope="org.springframework.boot", version="4.0.0", attributes=of("openai", "text-embedding-3-small", {
            "gen_ai.operation.name": "embedding", "gen_ai.usage.input_tokens": "1000"})),
        (1000, None, None, None, None),
    ),
    "copilot cli": (
        Span(scope="github.copilot", attributes=of("openai", "gpt-5-mini", usage(1000, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.reasoning.output_tokens": 128}))),
        (1000, 600, 100, 200, 128),
    ),
    "vs code copilot": (
        Span(scope="copilot-chat", attributes=of("github", "gpt-5-mini", usage(1000, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.reasoning_tokens": 128}))),
        (1000, 600, None, 200, 128),
    ),
    "sentry": (
        Span(scope="sentry.python", attributes=of("openai", "gpt-4o-mini", usage(1000, 200, **{
            "gen_ai.usage.input_tokens.cached": 600, "gen_ai.usage.input_tokens.cache_write": 100,
            "gen_ai.usage.output_tokens.reasoning": 128}))),
        (1000, 600, 100, 200, 128),
    ),
    "opencode": (
        Span(scope="opencode", attributes=of("anthropic", CLAUDE, usage(1000, 200,
            **{"gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.cache_read.input_tokens": 600, "opencode.llm.cost.total": 0.0045}))),
        (1000, 600, 100, 200, None),
    ),
    "conventions before 1.27": (
        Span(attributes=of("openai", "gpt-4", {"gen_ai.operation.name": "chat", "gen_ai.usage.prompt_tokens": 1000,
                                                "gen_ai.usage.completion_tokens": 200})),
        (1000, None, None, 200, None),
    ),
    "unknown emitter whose numbers prove that the cache stands apart": (
        Span(attributes=of("anthropic", CLAUDE, usage(300, 200, **{"gen_ai.usage.cache_read.input_tokens": 600,
                                                                     "gen_ai.usage.cache_creation.input_tokens": 100}))),
        (1000, 600, 100, 200, None),
    ),
    "google genai by the conventions": (
        Span(scope="opentelemetry.instrumentation.google_genai", attributes=of("gemini", "gemini-2.5-flash", {
            **usage(1000, 200, **{"gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.reasoning.output_tokens": 128}),
            "gen_ai.operation.name": "generate_content", "gen_ai.usage.text.output_tokens": 72})),
        (1000, 600, None, 200, 128),
    ),
    "spanledger's own": (
        Span(scope="spanledger.instrumentation", attributes=of("anthropic", CLAUDE, usage(1000, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.reasoning.output_tokens": 128}))),
        (1000, 600, 100, 200, 128),
    ),
    "langsmith without its JSON, details in Python reprs": (
        Span(scope="langsmith", attributes={
            "langsmith.span.kind": "llm", **of("openai", "gpt-4o-mini", usage(1000, 200)),
            "gen_ai.usage.input_token_details": "{'audio': 0, 'cache_read': 600, 'cache_creation': 100}",
            "gen_ai.usage.output_token_details": "{'audio': 0, 'reasoning': 128}"}),
        (1000, 600, 100, 200, 128),
    ),
    "openllmetry 0.33, OpenAI": (
        Span(scope="opentelemetry.instrumentation.openai.v1", version="0.33.12", attributes={
            "llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 200, "llm.usage.total_tokens": 1200}),
        (1000, None, None, 200, None),
    ),
    "aws distro, LangChain": (
        Span(scope="amazon.opentelemetry.distro.instrumentation.langchain", version="0.21.0",
             attributes=of("openai", "gpt-4o-mini", usage(1000, 200))),
        (1000, None, None, 200, None),
    ),
    "aws distro 0.18, one call of CrewAI": (
        Span(scope="amazon.opentelemetry.distro.instrumentation.crewai", version="0.18.0",
             attributes=of("openai", "gpt-4o-mini", usage(1000, 200))),
        (1000, None, None, 200, None),
    ),
    "strands 0.2, Anthropic": (
        Span(scope="strands.telemetry.tracer", name="Model invoke", attributes={
            **of("strands-agents", CLAUDE, usage(300, 200)), "gen_ai.usage.prompt_tokens": 300}),
        (300, None, None, 200, None),
    ),
    "vercel 5, Bedrock": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "amazon-bedrock", "ai.model.id": CLAUDE,
            "ai.usage.inputTokens": 300, "ai.usage.outputTokens": 200, "ai.usage.cachedInputTokens": 150}),
        (450, 150, None, 200, None),
    ),
    "vercel 5, Bedrock with its own details": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "amazon-bedrock", "ai.model.id": CLAUDE,
            "ai.usage.promptTokens": 300, "ai.usage.completionTokens": 200, "ai.response.providerMetadata": json.dumps(
                {"bedrock": {"usage": {"cacheReadInputTokens": 600, "cacheWriteInputTokens": 100}}})}),
        (1000, 600, 100, 200, None),
    ),
    "vercel 6, Anthropic, of the details only the cache": (
        Span(scope="ai", attributes={
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "anthropic.messages", "ai.model.id": CLAUDE,
            "ai.usage.inputTokens": 1000, "ai.usage.outputTokens": 200, "ai.usage.inputTokenDetails.cacheReadTokens": 600}),
        (1000, 600, None, 200, None),
    ),
    "litellm, what the provider answered": (
        Span(scope="litellm", name="raw_gen_ai_request", attributes={
            "llm.anthropic.model": CLAUDE, "llm.anthropic.id": "msg_01ABCDEFGHIJ", "llm.anthropic.usage": str(
                {"input_tokens": 300, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 100, "output_tokens": 200,
                 "output_tokens_details": {"thinking_tokens": 128}})}),
        (1000, 600, 100, 200, 128),
    ),
    "a usage object that is a map and no text": (
        Span(scope="logfire.anthropic", version="5.2.0", attributes=of("anthropic", CLAUDE, {
            "gen_ai.operation.name": "chat", "gen_ai.usage.raw": {
                "input_tokens": 300, "cache_read_input_tokens": 600, "output_tokens": 200,
                "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
                "cache_creation_input_tokens": 100}})),
        (1000, 600, 100, 200, None),
    ),
    "mlflow": (
        Span(scope="mlflow.tracing.provider", attributes={
            "mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.model": f'"{CLAUDE}"', "mlflow.llm.provider": '"anthropic"',
            "mlflow.chat.tokenUsage": json.dumps({"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 600,
                                                  "cache_creation_input_tokens": 100})}),
        (1000, 600, 100, 200, None),
    ),
    "langfuse, keys that add up": (
        Span(scope="langfuse-sdk", attributes={
            "langfuse.observation.type": "generation", "langfuse.observation.model.name": CLAUDE,
            "langfuse.observation.usage_details": json.dumps(
                {"input": 300, "input_cached_tokens": 600, "cache_creation_input_tokens": 100, "output": 72,
                 "output_reasoning_tokens": 128})}),
        (1000, 600, 100, 200, 128),
    ),
    "openlit, Bedrock": (
        Span(scope="openlit.instrumentation.bedrock", attributes=of("aws.bedrock", CLAUDE, usage(300, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 150, "gen_ai.client.token.usage": 500}))),
        (450, 150, None, 200, None),
    ),
    "spring ai 1, Anthropic loses the cache": (
        Span(scope="org.springframework.boot", version="3.5.0", attributes=of("anthropic", CLAUDE, {
            **usage("300", "200"), "gen_ai.response.model": "none", "gen_ai.usage.total_tokens": "500"})),
        (300, None, None, 200, None),
    ),
    "total that only adds up with the cache beside it": (
        Span(attributes=of("anthropic", CLAUDE, usage(900, 200, **{
            "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.total_tokens": 1200}))),
        (1000, 100, None, 200, None),
    ),
    "a total of Google's that only adds up with the reasoning beside the output": (
        Span(attributes=of("gemini", "gemini-2.5-flash", usage(1000, 150, **{
            "gen_ai.usage.reasoning.output_tokens": 50, "gen_ai.usage.total_tokens": 1200}))),
        (1000, None, None, 200, 50),
    ),
    "more reasoning than output": (
        Span(attributes=of("openai", "gpt-5-mini", usage(1000, 72, **{"gen_ai.usage.reasoning.output_tokens": 128}))),
        (1000, None, None, 200, 128),
    ),
    "anthropic stream that ended before its counts": (
        Span(scope="com.anthropic.sdk.python", attributes=of("anthropic", CLAUDE, {
            "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1000, "gen_ai.request.stream": True,
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100})),
        (1000, 600, 100, None, None),
    ),
    "anthropic compaction is outside the usage": (
        Span(scope="com.anthropic.sdk.python", attributes=of("anthropic", CLAUDE, usage(900, 150, **{
            "anthropic.usage.compaction.input_tokens": 100, "anthropic.usage.compaction.output_tokens": 50}))),
        (1000, None, None, 200, None),
    ),
}  # fmt: skip

#: Those whose emitter nobody knows, put right by their numbers.
PROVED = (
    "unknown emitter whose numbers prove that the cache stands apart", "total that only adds up with the cache beside it",
)  # fmt: skip
