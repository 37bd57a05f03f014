"""Agent frameworks and coding agents that instrument themselves."""

from dataclasses import replace

from spanledger.collector.dialects.dialect import Dialect
from spanledger.collector.dialects.meters import METERS

#: 2.x; 1.x is told by its operation-less `call_llm` span, whose thoughts are only in embedded JSON.
GOOGLE_ADK = Dialect(
    name="google-adk",
    scopes=("gcp.vertex.agent",),
    names={"call_llm": "leaf"},
    aliases={"raw": ("gcp.vertex.agent.llm_response",)},
    cache={"google": "in", "*": "in?"},
    reasoning={"google": "in", "*": "in"},
    embedded="adk",
)

#: 1.x. Its `invoke_agent` sums up all that its agent ever did, so a second invocation says the first one's usage again.
STRANDS = Dialect(
    name="strands",
    scopes=("strands*",),
    names={"execute_event_loop_cycle": "span"},
    # Milliseconds, under the conventions' name for seconds.
    aliases={"ttft_ms": ("gen_ai.server.time_to_first_token",)},
    cache={"openai": "in", "bedrock": "in", "*": "in?"},
    reasoning={"*": "in"},
    loses=("reasoning",),
    sums="running",
)

#: 0.x exports no cache, and leaves it out of Anthropic's input; both versions write one scope without a version.
STRANDS_0 = replace(
    STRANDS,
    name="strands-0",
    spans=("Model invoke",),
    names={"Model invoke": "leaf"},
    cache={"openai": "in", "anthropic": "lost", "bedrock": "lost", "*": "in?"},
    loses=("cache_read", "cache_write", "reasoning"),
)

AGENT_FRAMEWORK = Dialect(
    name="ms-agent-framework",
    scopes=("agent_framework*",),
    cache={"openai": "in", "anthropic": "apart", "*": "in?"},
    reasoning={"*": "in"},
)

SEMANTIC_KERNEL = Dialect(
    name="semantic-kernel",
    scopes=("semantic_kernel*", "Microsoft.SemanticKernel*"),
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
)

#: The scope can be renamed by the application.
EXTENSIONS_AI = Dialect(
    name="ms-extensions-ai",
    scopes=("Experimental.Microsoft.Extensions.AI*", "Microsoft.Extensions.AI*"),
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
    loses=("cache_write",),
)

SPRING_AI_1 = Dialect(
    name="spring-ai-1",
    scopes=("org.springframework.boot",),
    versions=("3.",),
    cache={"openai": "in", "anthropic": "lost", "bedrock": "lost", "*": "in?"},
    reasoning={"*": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
    cumulative="siblings",
)

SPRING_AI_2 = replace(
    SPRING_AI_1, name="spring-ai-2", versions=(), cache={"openai": "in", "*": "in?"}, loses=("reasoning",), cumulative=""
)

AG2 = Dialect(
    name="ag2",
    scopes=("opentelemetry.instrumentation.ag2",),
    markers=("ag2.span.type",),
    aliases={"class": ("ag2.span.type",), "subclass": ("ag2.usage.kind",)},
    classes={
        "llm": "leaf", "agent": "agent", "tool": "tool", "usage/model_call": "repeat", "usage/subtask": "repeat",
        "usage/compaction": "leaf", "usage/aggregation": "leaf", "*": "span",
    },
    cache={"openai": "in", "anthropic": "apart", "bedrock": "apart", "*": "in?"},
    reasoning={"*": "in"},
    loses=("cache_write",),
)  # fmt: skip

CLAUDE_CODE = Dialect(
    name="claude-code",
    scopes=("com.anthropic.claude_code*",),
    aliases={
        "input": ("input_tokens",),
        "output": ("output_tokens",),
        # On spans `gen_ai.response.id` holds the request's id.
        "request_id": ("request_id", "gen_ai.response.id"),
        "class": ("span.type",),
        "agent": ("query_source", "query_source_safe"),
    },
    not_read=("response_id",),
    names={
        "claude_code.llm_request": "leaf",
        "claude_code.api_request": "leaf",
        "api_request": "leaf",
        "claude_code.api_error": "leaf",
        "api_error": "leaf",
        "assistant_response": "repeat",
        "claude_code.assistant_response": "repeat",
        "claude_code.interaction": "agent",
        "claude_code.tool": "tool",
        "claude_code.tool.execution": "tool",
        "claude_code.tool.blocked_on_user": "tool",
    },
    cache={"*": "apart"},
    reasoning={"*": "in"},
    loses=("reasoning",),
    provider="anthropic",
    authority=("logs", "traces", "metrics"),
)

CODEX = Dialect(
    name="codex",
    scopes=("codex*", "codex_otel*"),
    aliases={"subclass": ("event.kind",), "total": ("tool_token_count",), "error_type": ("error.message",)},
    names={
        "handle_responses": "leaf", "codex.sse_event/response.completed": "leaf", "codex.sse_event/response.failed": "leaf",
        "session_task.turn": "repeat", "codex.sse_event": "never", "codex.tool_result": "tool",
        # Only a refused request is told nowhere else; an answered one has no usage here, and so is no call.
        "codex.api_request": "leaf",
    },
    answers=(),
    cache={"openai": "in", "*": "in"},
    reasoning={"*": "in"},
    provider="openai",
    authority=("logs", "traces", "metrics"),
)  # fmt: skip

#: Only the `gemini_cli.api_response` log has thoughts and cache.
GEMINI_CLI = Dialect(
    name="gemini-cli",
    scopes=("gemini-cli", "gemini_cli*"),
    names={
        "gemini_cli.api_response": "leaf", "gemini_cli.api_error": "leaf", "gemini_cli.api_request": "never",
    },
    aliases={"tool_prompt": ("tool_token_count",), "agent": ("role",)},
    answers=(),
    cache={"google": "in", "*": "in"},
    reasoning={"google": "apart", "*": "apart"},
    provider="gcp.gen_ai",
    meters=("gemini_cli.token.usage",),
    authority=("logs", "traces", "metrics"),
)  # fmt: skip

COPILOT_CLI = Dialect(
    name="copilot-cli",
    scopes=("github.copilot*",),
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
    # `gen_ai.client.operation.duration` counts its agent's turns, not calls.
    meters=tuple(meter.name for meter in METERS if meter.name.startswith("gen_ai.client.inference.")),
)

COPILOT_CHAT = Dialect(
    name="copilot-chat",
    scopes=("copilot-chat*", "github.copilot-chat*"),
    markers=("copilot_chat.server_request_id",),
    names={"copilot_chat.agent.turn": "repeat", "copilot_chat.summarization": "repeat", "copilot_chat.tool.call": "tool"},
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
)

CURSOR = Dialect(
    name="cursor",
    scopes=("cursor.telemetry",),
    aliases={"event": ("cursor.event.name",), "error_type": ("cursor.api.correction.kind",)},
    names={
        "api_request": "leaf", "api_error": "leaf", "api_correction_not_billed_errored": "correction",
        "api_correction_not_billed_aborted_before_timeout": "correction",
        "cursor.api.request": "leaf", "cursor.api.error": "leaf", "cursor.api.correction": "correction",
    },
    # Inferred from its Admin API, whose cache counts exceed the input beside them.
    cache={"*": "apart?"},
    reasoning={"*": "in"},
    loses=("reasoning",),
    provider="cursor",
    authority=("logs", "traces", "metrics"),
)  # fmt: skip

OPENCODE = Dialect(
    name="opencode",
    scopes=("opencode*",),
    markers=("opencode.llm.cost.total",),
    cache={"*": "in?"},
    reasoning={"*": "in"},
)

ROWS = (
    GOOGLE_ADK, STRANDS, STRANDS_0, AGENT_FRAMEWORK, SEMANTIC_KERNEL, EXTENSIONS_AI, SPRING_AI_1, SPRING_AI_2, AG2,
    CLAUDE_CODE, CODEX, GEMINI_CLI, COPILOT_CHAT, COPILOT_CLI, CURSOR, OPENCODE,
)  # fmt: skip
