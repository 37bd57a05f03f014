"""What can be read about a call, and the attributes that carry it in every dialect, in order of trust.

The first present and valid one wins. A dialect's own list goes before the shared one.
"""

from collections.abc import Mapping

#: Whole, non-negative numbers.
COUNTS = (
    "input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning", "total",
    "tool_prompt", "extra_input", "extra_output",
    "input_audio", "output_audio", "cache_read_audio", "input_image", "output_image", "input_video",
    "images", "searches", "pages", "characters", "requests", "batch_calls", "attempt", "status",
)  # fmt: skip

#: Other numbers, with the factor that turns the attribute into the ledger's unit.
AMOUNTS: Mapping[str, float] = {
    "cost": 1.0,
    "cost_micros": 1e-6,
    "ttft": 1.0,
    "ttft_ms": 1e-3,
    "duration": 1.0,
    "duration_ms": 1e-3,
}

TEXTS = (
    "provider", "request_model", "response_model", "model_hint", "operation", "class", "subclass", "event",
    "response_id", "request_id", "event_id", "hold_id", "made_size", "made_quality", "service_tier", "server_address", "region",
    "finish_reason",
    "error_type", "error_text",
    "streamed", "cache_hit", "batch", "cut_short", "estimated",
    "tenant", "project", "user", "agent", "session", "account_tenant", "account_project",
    "environment", "raw", "raw_output", "raw_cost",
)  # fmt: skip

FIELDS: tuple[str, ...] = (*COUNTS, *AMOUNTS, *TEXTS)

#: The dimensions that are inherited from ancestors and duplicates; their attributes are a matter of configuration.
WHO = ("tenant", "project", "user", "agent", "session")

SHARED: Mapping[str, tuple[str, ...]] = {
    "provider": (
        "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider", "anthropic.provider",
        "mlflow.llm.provider",
    ),
    "request_model": (
        "gen_ai.request.model", "llm.request.model_name", "ai.model.id", "embedding.model_name", "reranker.model_name",
        "litellm.provider.model", "model_name", "model",
    ),
    "response_model": (
        "gen_ai.response.model", "llm.response.model_name", "llm.model_name", "ai.response.model",
        "langfuse.observation.model.name", "mlflow.llm.model", "cursor.model.name",
    ),
    "model_hint": (
        "llm.invocation_parameters", "embedding.invocation_parameters", "traceloop.association.properties.ls_model_name",
    ),
    "operation": ("gen_ai.operation.name",),
    "event": ("event.name",),
    "response_id": ("gen_ai.response.id", "ai.response.id", "cursor.usage_event.id"),
    "request_id": ("anthropic.request.id", "spanledger.request.id", "copilot_chat.server_request_id", "litellm.call_id"),
    "event_id": ("cursor.event.id",),
    "hold_id": ("spanledger.hold.id",),
    "input": (
        "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "ai.usage.inputTokens",
        "ai.usage.promptTokens", "ai.usage.tokens", "llm.usage.prompt_tokens", "input_token_count",
        "cursor.api.request.input_tokens",
    ),
    "output": (
        "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion", "ai.usage.outputTokens",
        "ai.usage.completionTokens", "llm.usage.completion_tokens", "output_token_count", "cursor.api.request.output_tokens",
    ),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.input_tokens.cached",
        "gen_ai.usage.input_tokens.cache_read", "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cached_content_tokens",
        "llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input",
        "ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens", "cache_read_tokens", "cached_token_count",
        "cached_content_token_count", "cursor.api.request.cache_read_tokens",
    ),
    "cache_write": (
        "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens", "gen_ai.usage.input_tokens.cache_write",
        "gen_ai.usage.details.cache_write_tokens",
        "llm.token_count.prompt_details.cache_write", "ai.usage.inputTokenDetails.cacheWriteTokens", "cache_creation_tokens",
        "cache_write_token_count", "cursor.api.request.cache_creation_tokens",
    ),
    "cache_write_5m": (
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens", "gen_ai.usage.details.ephemeral_5m_input_tokens",
        "cache_creation_5m_tokens",
    ),
    "cache_write_1h": (
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens", "gen_ai.usage.details.ephemeral_1h_input_tokens",
        "cache_creation_1h_tokens",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "gen_ai.usage.thinking_tokens",
        "gen_ai.usage.output_tokens.reasoning", "gen_ai.usage.details.reasoning_tokens", "gen_ai.usage.details.thinking_tokens",
        "gen_ai.usage.details.thoughts_tokens", "llm.token_count.completion_details.reasoning",
        "ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens", "codex.usage.reasoning_output_tokens",
        "reasoning_token_count", "thoughts_token_count",
    ),
    "total": (
        "gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens",
        "ag2.usage.total_tokens",
        "codex.usage.total_tokens", "total_token_count",
    ),
    "extra_input": ("anthropic.usage.compaction.input_tokens",),
    "extra_output": ("anthropic.usage.compaction.output_tokens",),
    "input_audio": (
        "gen_ai.usage.audio.input_tokens", "llm.token_count.prompt_details.audio", "gen_ai.usage.details.input_audio_tokens",
        "gen_ai.usage.input_audio_tokens",
    ),
    "output_audio": (
        "gen_ai.usage.audio.output_tokens", "llm.token_count.completion_details.audio",
        "gen_ai.usage.details.output_audio_tokens",
        "gen_ai.usage.output_audio_tokens", "gen_ai.usage.details.audio_tokens",
    ),
    "cache_read_audio": ("gen_ai.usage.audio.cache_read.input_tokens",),
    "input_image": ("gen_ai.usage.image.input_tokens",),
    "output_image": ("gen_ai.usage.image.output_tokens",),
    "input_video": ("gen_ai.usage.video.input_tokens", "spanledger.meter.input_video_tokens"),
    "images": ("spanledger.meter.images",),
    "searches": ("spanledger.meter.searches", "anthropic.usage.server_tool_use.web_search_requests"),
    "pages": ("spanledger.meter.pages",),
    "characters": ("spanledger.meter.characters",),
    "requests": ("spanledger.meter.requests",),
    "audio_seconds": ("spanledger.meter.audio_seconds",),
    "video_seconds": ("spanledger.meter.video_seconds",),
    "made_size": ("openai.response.image.size", "openai.request.image.size", "openai.response.video.size"),
    "made_quality": ("openai.response.image.quality", "openai.request.image.quality"),
    "batch_calls": ("spanledger.batch.calls",),
    "attempt": ("spanledger.attempt", "attempt"),
    "status": ("http.response.status_code", "status_code"),
    "cost": (
        "operation.cost", "gen_ai.cost.total_cost", "litellm.cost.total", "gen_ai.usage.cost", "gen_ai.usage.total_cost",
        "llm.cost.total",
        "cost_usd", "opencode.llm.cost.total",
    ),
    "cost_micros": ("cost_usd_micros", "codex.turn.cost_microusd"),
    "ttft": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    "ttft_ms": ("ttft_ms", "ai.response.msToFirstChunk"),
    "duration": (),
    "duration_ms": ("duration_ms",),
    "service_tier": (
        "openai.response.service_tier", "gen_ai.openai.response.service_tier", "anthropic.response.service_tier",
        "gen_ai.response.service_tier", "openai.request.service_tier", "gen_ai.openai.request.service_tier",
        "anthropic.request.service_tier",
    ),
    "server_address": ("server.address",),
    "region": ("anthropic.response.inference_geo", "cloud.region", "aws.region"),
    "finish_reason": (
        "gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason", "ai.response.finishReason",
        "anthropic.message.stop_reason", "stop_reason",
    ),
    "error_type": ("error.type", "error_type", "exception.type"),
    "error_text": ("error", "langfuse.observation.level"),
    "streamed": ("gen_ai.request.stream", "llm.is_streaming"),
    "cache_hit": ("litellm.cache_hit",),
    "batch": ("spanledger.batch",),
    "cut_short": ("spanledger.stream.cut_short",),
    "estimated": ("spanledger.tokens.estimated",),
    # Whose account pays: known of every call to that account, so it says whom one is for only where nobody else does.
    "account_tenant": ("anthropic.organization.id",),
    "account_project": ("anthropic.workspace.id",),
    "environment": ("gen_ai.environment", "langfuse.environment"),
    "raw": (),
    "raw_output": (),
    "raw_cost": (),
}  # fmt: skip

#: JSON objects of labels (OpenInference's `using_attributes(metadata=…)`): `metadata:<key>`, so that it is not taken for
#: the flat `metadata.<key>` of LiteLLM, which holds other things.
OBJECTS = ("metadata",)
#: Lists of labels: `tag:<label>` is `true`, and `tag:<name>` the value where a label is written name:value or name=value.
LISTS = ("tag.tags", "langfuse.trace.tags")

#: Attributes that name who a call is for, before any configuration. Ancestors' values count where the call has none.
ATTRIBUTION: Mapping[str, tuple[str, ...]] = {
    "tenant": (
        "spanledger.tenant", "tenant.id", "tenant", "organization.id", "litellm.team.id", "litellm.team.alias",
        "metadata.user_api_key_team_id", "metadata.user_api_key_team_alias", "metadata.user_api_key_org_id",
        "ai.telemetry.metadata.tenant", "langfuse.trace.metadata.tenant", "traceloop.association.properties.tenant",
        "metadata:tenant", "metadata:tenant_id", "cursor.team.id", "team",
    ),
    "project": (
        "spanledger.project", "project.id", "project", "langsmith.trace.session_name",
        "ai.telemetry.metadata.project", "langfuse.trace.metadata.project", "traceloop.association.properties.project",
        "metadata:project",
    ),
    "user": (
        "spanledger.user", "user.id", "enduser.id", "user.email", "user.account_uuid", "user.account_id", "llm.user",
        "gen_ai.request.user",
        "litellm.end_user.id", "metadata.user_api_key_user_id", "metadata.user_api_key_end_user_id",
        "ai.telemetry.metadata.userId",
        "traceloop.association.properties.user_id", "langsmith.metadata.user_id", "mlflow.trace.user", "cursor.user.id",
        "metadata:user_id",
    ),
    "agent": (
        "spanledger.agent", "gen_ai.agent.name", "agent.name", "gen_ai.agent.id", "ai.telemetry.functionId",
    ),
    "session": (
        "spanledger.session", "gen_ai.conversation.id", "session.id", "conversation.id", "ai.telemetry.metadata.sessionId",
        "traceloop.association.properties.session_id", "langsmith.metadata.session_id", "mlflow.trace.session",
        "cursor.conversation.id", "gcp.vertex.agent.session_id",
    ),
}  # fmt: skip
