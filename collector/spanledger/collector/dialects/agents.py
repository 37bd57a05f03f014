"""Agent frameworks and coding agents that instrument themselves."""

from dataclasses import replace

from spanledger.collector.dialects.dialect import Dialect

#: 2.x; 1.x is told by its operation-less `call_llm` span, whose thoughts are only in embedded JSON.
GOOGLE_ADK = Dialect(
    name="google-adk",
    scopes=("gcp.vertex.agent",),
    names={"call_llm": "leaf"},
    aliases={"raw": ("gcp.vertex.agent.llm_response",)},
    cache={"google": "in", "*": "unsure"},
    reasoning={"google": "in", "*": "in"},
    embedded="adk",
)

#: 0.x ("Model invoke") exports no cache, 1.x ("chat") does; both write one scope without a version.
STRANDS = Dialect(
    name="strands",
    scopes=("strands*", "strands.telemetry*"),
    names={"Model invoke": "leaf", "execute_event_loop_cycle": "span"},
    cache={"openai": "in", "bedrock": "in", "*": "unsure"},
    reasoning={"*": "in"},
    loses=("reasoning",),
)

AGENT_FRAMEWORK = Dialect(
    name="ms-agent-framework",
    scopes=("agent_framework*",),
    cache={"openai": "in", "anthropic": "apart", "*": "unsure"},
    reasoning={"*": "in"},
)

SEMANTIC_KERNEL = Dialect(
    name="semantic-kernel",
    scopes=("semantic_kernel*", "Microsoft.SemanticKernel*"),
    cache={"openai": "in", "*": "unsure"},
    reasoning={"*": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
)

#: The scope can be renamed by the application.
EXTENSIONS_AI = Dialect(
    name="ms-extensions-ai",
    scopes=("Experimental.Microsoft.Extensions.AI*", "Microsoft.Extensions.AI*"),
    cache={"openai": "in", "*": "unsure"},
    reasoning={"*": "in"},
    loses=("cache_write",),
)

SPRING_AI_1 = Dialect(
    name="spring-ai-1",
    scopes=("org.springframework.boot",),
    versions=("3.",),
    cache={"openai": "in", "anthropic": "lost", "bedrock": "lost", "*": "unsure"},
    reasoning={"*": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
    cumulative=True,
)

SPRING_AI_2 = replace(
    SPRING_AI_1, name="spring-ai-2", versions=(), cache={"openai": "in", "*": "unsure"}, loses=("reasoning",), cumulative=False
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
    cache={"openai": "in", "anthropic": "apart", "bedrock": "apart", "*": "unsure"},
    reasoning={"*": "in"},
    loses=("cache_write",),
)  # fmt: skip

CLAUDE_CODE = Dialect(
    name="claude-code",
    scopes=("com.anthropic.claude_code*",),
    aliases={
        "input": ("input_tokens",),
        "output": ("output_tokens",),
        "request_id": ("request_id",),
        "class": ("span.type",),
        "agent": ("query_source", "query_source_safe"),
    },
    # `gen_ai.response.id` holds the request's id here.
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
        "session_task.turn": "repeat", "codex.sse_event": "never", "codex.api_request": "never", "codex.tool_result": "tool",
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
    cache={"openai": "in", "*": "unsure"},
    reasoning={"*": "in"},
)

COPILOT_CHAT = Dialect(
    name="copilot-chat",
    scopes=("copilot-chat*", "github.copilot-chat*"),
    markers=("copilot_chat.server_request_id",),
    names={"copilot_chat.agent.turn": "repeat", "copilot_chat.summarization": "repeat", "copilot_chat.tool.call": "tool"},
    cache={"openai": "in", "*": "unsure"},
    reasoning={"*": "in"},
)

CURSOR = Dialect(
    name="cursor",
    scopes=("cursor.telemetry",),
    aliases={"event": ("cursor.event.name",), "error_type": ("cursor.api.correction.kind",)},
    names={
        "api_request": "leaf", "api_error": "leaf", "api_correction_not_billed_errored": "correction",
        "api_correction_not_billed_aborted_before_timeout": "correction",
    },
    cache={"*": "apart"},
    reasoning={"*": "in"},
    loses=("reasoning",),
    provider="cursor",
    authority=("logs", "traces", "metrics"),
)  # fmt: skip

OPENCODE = Dialect(
    name="opencode",
    scopes=("opencode*",),
    markers=("opencode.llm.cost.total",),
    cache={"*": "unsure"},
    reasoning={"*": "in"},
)

ROWS = (
    GOOGLE_ADK, STRANDS, AGENT_FRAMEWORK, SEMANTIC_KERNEL, EXTENSIONS_AI, SPRING_AI_1, SPRING_AI_2, AG2, CLAUDE_CODE, CODEX,
    GEMINI_CLI, COPILOT_CHAT, COPILOT_CLI, CURSOR, OPENCODE,
)  # fmt: skip
