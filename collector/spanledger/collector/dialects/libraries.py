"""Instrumentation libraries and gateways that write a spelling of their own."""

from dataclasses import replace

from spanledger.collector.dialects.dialect import Dialect

OPENLLMETRY = Dialect(
    name="openllmetry",
    scopes=(
        "opentelemetry.instrumentation.openai.*",
        "opentelemetry.instrumentation.openai",
        "opentelemetry.instrumentation.anthropic",
        "opentelemetry.instrumentation.langchain",
        "opentelemetry.instrumentation.crewai",
        "opentelemetry.instrumentation.openai_agents",
        "opentelemetry.instrumentation.cohere",
        "opentelemetry.instrumentation.groq",
        "opentelemetry.instrumentation.mistralai",
        "opentelemetry.instrumentation.ollama",
        "opentelemetry.instrumentation.replicate",
        "opentelemetry.instrumentation.together",
        "opentelemetry.instrumentation.watsonx",
        "opentelemetry.instrumentation.alephalpha",
        "opentelemetry.instrumentation.sagemaker",
        "opentelemetry.instrumentation.llamaindex",
        "opentelemetry.instrumentation.haystack",
        "opentelemetry.instrumentation.transformers",
        "opentelemetry.instrumentation.writer",
        "opentelemetry.instrumentation.agno",
        "traceloop*",
    ),
    markers=("llm.request.type", "traceloop.span.kind"),
    aliases={"class": ("llm.request.type",), "subclass": ("traceloop.span.kind",)},
    classes={
        "chat": "leaf",
        "completion": "leaf",
        "embedding": "leaf",
        "rerank": "leaf",
        "/agent": "agent",
        "/tool": "tool",
        "/workflow": "span",
        "/task": "span",
    },
    cache={"openai": "in", "anthropic": "in", "google": "in", "*": "in?"},
    reasoning={"*": "in"},
)

#: Up to 0.33 its OpenAI instrumentor knew of no cache.
OPENLLMETRY_OLD = replace(
    OPENLLMETRY, name="openllmetry-0.33", markers=(),
    scopes=("opentelemetry.instrumentation.openai.v1", "opentelemetry.instrumentation.openai.v0"),
    versions=tuple(f"0.{minor}." for minor in range(34)), loses=("cache_read", "cache_write", "reasoning"),
)  # fmt: skip

#: Its Bedrock instrumentor leaves the cache out of the input, and its total too.
OPENLLMETRY_BEDROCK = replace(
    OPENLLMETRY, name="openllmetry-bedrock", scopes=("opentelemetry.instrumentation.bedrock",), markers=(), not_read=("total",),
    cache={"bedrock": "apart"}, loses=("reasoning",), provider="aws.bedrock",
)  # fmt: skip

#: Its Google instrumentors count no thoughts; only the total has them.
OPENLLMETRY_GOOGLE = replace(
    OPENLLMETRY, name="openllmetry-google", markers=(),
    scopes=("opentelemetry.instrumentation.google_generativeai", "opentelemetry.instrumentation.vertexai"),
    cache={"google": "in"}, reasoning={"google": "total"}, provider="gcp.gen_ai",
)  # fmt: skip

OPENINFERENCE = Dialect(
    name="openinference",
    scopes=("openinference.*", "@arizeai/openinference*"),
    markers=("openinference.span.kind",),
    aliases={"class": ("openinference.span.kind",), "agent": ("graph.node.id",)},
    classes={"LLM": "leaf", "EMBEDDING": "leaf", "RERANKER": "leaf", "AGENT": "agent", "TOOL": "tool", "*": "span"},
    # `llm.model_name` is there before anything was asked (LlamaIndex's `_prepare_chat_with_tools`).
    answers=("response_id", "finish_reason"),
    cache={"*": "in"},
    reasoning={"*": "in"},
)

VERCEL_CLASSES = {
    "*.doGenerate": "leaf", "*.doStream": "leaf", "*.doEmbed": "leaf", "*.doRerank": "leaf", "ai.toolCall": "tool", "*": "span",
}  # fmt: skip

#: Versions 4 and 5: Anthropic's input without the cache, Google's output without thoughts, details in embedded JSON.
VERCEL = Dialect(
    name="vercel-ai",
    scopes=("ai",),
    markers=("ai.operationId",),
    aliases={"class": ("ai.operationId",), "raw": ("ai.response.providerMetadata",)},
    classes=VERCEL_CLASSES,  # type: ignore[arg-type]
    cache={"openai": "in", "anthropic": "apart", "google": "in", "bedrock": "apart?", "*": "in"},
    reasoning={"google": "apart", "*": "in"},
    embedded="vercel",
    sums="last",
)

#: From version 6 on everything is inside; the details under `inputTokenDetails` tell it from its elders.
VERCEL_6 = replace(
    VERCEL,
    name="vercel-ai-6",
    scopes=(),
    markers=(
        "ai.usage.inputTokenDetails.noCacheTokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        "ai.usage.outputTokenDetails.textTokens",
        "ai.usage.outputTokenDetails.reasoningTokens",
    ),
    cache={"openai": "in", "anthropic": "in", "google": "in", "bedrock": "in?", "*": "in"},
    reasoning={"*": "in"},
    sums="all",
)

#: Version 7 through `@ai-sdk/otel`.
VERCEL_OTEL = Dialect(
    name="vercel-ai-otel",
    scopes=("gen_ai",),
    cache={"openai": "in", "anthropic": "in", "google": "in", "bedrock": "in?", "*": "in"},
    reasoning={"*": "in"},
    loses=("reasoning",),
)

PYDANTIC_AI = Dialect(
    name="pydantic-ai",
    scopes=("pydantic-ai",),
    names={"agent run": "agent"},
    # From 2 on its agents' sums have names of their own.
    aliases={
        "input": ("gen_ai.aggregated_usage.input_tokens",),
        "output": ("gen_ai.aggregated_usage.output_tokens",),
        "cache_read": ("gen_ai.aggregated_usage.cache_read.input_tokens",),
        "cache_write": ("gen_ai.aggregated_usage.cache_creation.input_tokens",),
        "reasoning": ("gen_ai.aggregated_usage.details.reasoning_tokens",),
    },
    cache={"openai": "in", "anthropic": "in", "google": "in", "bedrock": "in?", "*": "in"},
    reasoning={"*": "in"},
)

#: A streamed call's usage is on a second span of no length, `logfire.span_type=log`; its request span carries the requested
#: model as the response's, which proves nothing.
LOGFIRE = Dialect(
    name="logfire",
    scopes=("logfire.*",),
    aliases={"class": ("logfire.span_type",), "raw": ("gen_ai.usage.raw",), "duration": ("duration",)},
    cache={"openai": "in", "anthropic": "in", "google": "in", "*": "in"},
    reasoning={"*": "in"},
    embedded_first=True,
    answers=(),
)

#: Before pydantic/logfire#1812 (March 2026, released with 4.31) Anthropic's input came without the cache.
LOGFIRE_OLD = replace(
    LOGFIRE, name="logfire-4", versions=("0.", "1.", "2.", "3.", *(f"4.{minor}." for minor in range(31))),
    cache={"anthropic": "apart", "*": "in"},
)  # fmt: skip

OPENLIT = Dialect(
    name="openlit",
    scopes=("openlit.*", "openlit"),
    names={"create_agent": "never"},
    # 0.0 or an int 0 there means that the model is not in its price file.
    cache={"openai": "in", "anthropic": "apart", "bedrock": "apart?", "google": "in?", "*": "in?"},
    reasoning={"*": "in"},
    # Its total is as exclusive as its input.
    not_read=("total",),
    sums="last",
)

LITELLM_CALLS = (
    *("completion", "acompletion", "text_completion", "atext_completion", "embedding", "aembedding", "responses", "aresponses"),
    *("anthropic_messages", "generate_content", "agenerate_content", "rerank", "arerank"),
)

LITELLM = Dialect(
    name="litellm",
    scopes=("litellm", "litellm.*"),
    names={"Received Proxy Server Request": "span"},
    # Before it named operations it wrote what was called.
    aliases={"raw": ("metadata.usage_object",), "class": ("openinference.span.kind", "llm.request.type")},
    classes={"LLM": "leaf", "EMBEDDING": "leaf", **dict.fromkeys(LITELLM_CALLS, "leaf")},
    cache={"openai": "in", "anthropic": "in", "bedrock": "in?", "google": "in?", "*": "in"},
    reasoning={"*": "in"},
    embedded="inclusive",
    synthetic_ids=("anthropic", "bedrock", "google", "other"),
)

#: The names under which LiteLLM writes a provider's own answer, as reprs, on the span below its call.
_BEHIND_LITELLM = (
    "openai", "anthropic", "azure", "azure_ai", "bedrock", "bedrock_converse", "vertex_ai", "gemini", "mistral", "cohere", "groq",
    "deepseek", "xai", "perplexity", "openrouter", "together_ai", "fireworks_ai", "databricks", "ollama", "hosted_vllm",
    "custom_openai",
)  # fmt: skip

#: What came back from the provider: the real response id, and details that the call's own span may lack.
LITELLM_RAW = replace(
    LITELLM,
    name="litellm-raw",
    spans=("raw_gen_ai_request",),
    names={"raw_gen_ai_request": "leaf"},
    aliases={
        "raw": tuple(f"llm.{name}.usage" for name in _BEHIND_LITELLM),
        "response_model": tuple(f"llm.{name}.model" for name in _BEHIND_LITELLM),
        "response_id": tuple(f"llm.{name}.id" for name in _BEHIND_LITELLM),
    },
    classes={},
    answers=(),
    embedded="provider",
    synthetic_ids=(),
)

LANGFUSE = Dialect(
    name="langfuse",
    scopes=("langfuse-sdk", "langfuse*"),
    markers=("langfuse.observation.type",),
    aliases={
        "class": ("langfuse.observation.type",),
        "project": ("public_key",),
        "raw": ("langfuse.observation.usage_details",),
        "raw_cost": ("langfuse.observation.cost_details",),
    },
    classes={"generation": "leaf", "embedding": "leaf", "agent": "agent", "tool": "tool", "*": "span"},
    cache={"*": "in"},
    reasoning={"*": "in"},
    embedded="langfuse",
    embedded_first=True,
)

LANGSMITH = Dialect(
    name="langsmith",
    scopes=("langsmith", "langsmith*"),
    markers=("langsmith.span.kind",),
    aliases={
        "class": ("langsmith.span.kind",),
        "raw": ("langsmith.metadata.usage_metadata", "gen_ai.usage.input_token_details"),
        "raw_output": ("gen_ai.usage.output_token_details",),
    },
    classes={"llm": "leaf", "embedding": "leaf", "tool": "tool", "chain": "span", "*": "span"},
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
    embedded="inclusive",
)

MLFLOW = Dialect(
    name="mlflow",
    markers=("mlflow.spanType", "mlflow.chat.tokenUsage"),
    aliases={
        "class": ("mlflow.spanType",),
        # What a root sums up goes behind what a call says of itself.
        "raw": ("mlflow.chat.tokenUsage", "mlflow.trace.tokenUsage"),
        "raw_cost": ("mlflow.llm.cost", "mlflow.trace.cost"),
        "provider": ("mlflow.llm.provider",),
        "response_model": ("mlflow.llm.model",),
    },
    classes={"CHAT_MODEL": "leaf", "LLM": "leaf", "EMBEDDING": "leaf", "AGENT": "agent", "TOOL": "tool", "*": "span"},
    cache={"openai": "in", "anthropic": "in", "*": "in?"},
    reasoning={"*": "in"},
    embedded="inclusive",
    embedded_first=True,
    json_values=True,
    loses=("reasoning",),
)

#: With MLFLOW_ENABLE_OTEL_GENAI_SEMCONV it writes the conventions' input and output, and nothing of the cache.
MLFLOW_SEMCONV = Dialect(
    name="mlflow-semconv",
    scopes=("mlflow.*", "mlflow"),
    cache={"openai": "in", "anthropic": "in", "*": "in?"},
    reasoning={"*": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
)

#: `gen_ai.usage.input_tokens.cached` and its like.
SENTRY = Dialect(
    name="sentry",
    scopes=("sentry*",),
    markers=("gen_ai.usage.input_tokens.cached", "gen_ai.usage.output_tokens.reasoning"),
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
)

ROWS = (
    OPENLLMETRY_BEDROCK,
    OPENLLMETRY_GOOGLE,
    OPENLLMETRY_OLD,
    OPENLLMETRY,
    OPENINFERENCE,
    VERCEL_6,
    VERCEL,
    VERCEL_OTEL,
    PYDANTIC_AI,
    LOGFIRE_OLD,
    LOGFIRE,
    OPENLIT,
    LITELLM,
    LITELLM_RAW,
    LANGFUSE,
    LANGSMITH,
    MLFLOW,
    MLFLOW_SEMCONV,
    SENTRY,
)
