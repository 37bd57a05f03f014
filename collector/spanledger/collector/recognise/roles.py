"""What each record is taken for: a call, an agent or tool around calls, a repetition, or nothing that is billed."""

from collections.abc import Mapping

import polars as pl

from spanledger.collector.dialects import DIALECTS, Dialect
from spanledger.collector.dialects.dialect import Role

#: `gen_ai.operation.name` and what stands in its place in older emitters.
OPERATIONS: Mapping[str, Role] = {
    "chat": "leaf",
    "generate_content": "leaf",
    "text_completion": "leaf",
    "embeddings": "leaf",
    "llm_call": "leaf",
    "rerank": "leaf",
    "image_generation": "leaf",
    "image_edit": "leaf",
    "speech": "leaf",
    "text_to_speech": "leaf",
    "speech_to_text": "leaf",
    "transcription": "leaf",
    "translation": "leaf",
    "video_generation": "leaf",
    "moderation": "leaf",
    "responses": "leaf",
    "invoke_agent": "agent",
    "invoke_workflow": "span",
    "execute_tool": "tool",
    "fetch_response": "never",
    "count_tokens": "never",
    "create_batch": "never",
}

#: What some call an operation, in the conventions' spelling: Spring AI.
SPELLED: Mapping[str, str] = {"embedding": "embeddings", "image": "image_generation"}

#: Names of log events that any emitter of the conventions may use.
EVENTS: Mapping[str, Role] = {
    "gen_ai.client.inference.operation.details": "leaf",
    "gen_ai.choice": "never",
    "gen_ai.user.message": "never",
    "gen_ai.system.message": "never",
    "gen_ai.assistant.message": "never",
    "gen_ai.tool.message": "never",
}

#: What the dialects' own classes are called as operations.
_CALLED: Mapping[str, str] = {
    "LLM": "chat",
    "EMBEDDING": "embeddings",
    "RERANKER": "rerank",
    "generation": "chat",
    "embedding": "embeddings",
    "CHAT_MODEL": "chat",
    "chat": "chat",
    "completion": "text_completion",
    "rerank": "rerank",
    "llm": "chat",
    "aembedding": "embeddings",
    "arerank": "rerank",
    "atext_completion": "text_completion",
}

#: Events that are failures by their name.
FAILURES = frozenset(
    ("api_error", "claude_code.api_error", "gemini_cli.api_error", "cursor.api.error", "codex.sse_event/response.failed")
)

_KNOWN_NAMES = [*(frozenset(EVENTS) | {name for dialect in DIALECTS for name in dialect.names})]
_PLAIN = pl.when(pl.col("name").is_in(_KNOWN_NAMES)).then("name")
_WITH_SUBCLASS = pl.concat_str(["name", pl.lit("/"), "subclass"])
_NAMED = pl.when(_WITH_SUBCLASS.is_in(_KNOWN_NAMES)).then(_WITH_SUBCLASS).otherwise(_PLAIN)


def known_name(frame: pl.DataFrame) -> pl.Expr:
    """`known_name`: the name, with its subclass or without, if any dialect knows it."""
    return (_PLAIN if frame["subclass"].null_count() == frame.height else _NAMED).alias("known_name")


def role_of(
    row: Dialect, signal: str, name: str | None, kind: str | None, subkind: str | None, operation: str | None
) -> tuple[Role | None, str | None]:
    """Role, or None where neither name, class nor operation says anything; and the operation in the conventions' spelling."""
    role: Role | None = None
    operation = None if operation is None else SPELLED.get(operation, operation)
    if name is not None:
        # The event of an agent says the sum of what its calls say.
        of_call = OPERATIONS.get(operation or "chat", "leaf") == "leaf"
        role = row.names.get(name) or (EVENTS.get(name) if signal == "logs" and of_call else None)
    if role is None and operation is not None and operation in OPERATIONS and not (row.classes and kind in row.classes):
        role = OPERATIONS[operation]
    if role is None and (kind is not None or subkind is not None):
        role = (
            row.classes.get(f"{kind}/{subkind}")
            or (row.classes.get(kind) if kind else None)
            or next(
                (
                    found
                    for suffix, found in row.classes.items()
                    if suffix[0] == "*" and suffix != "*" and kind and kind.endswith(suffix[1:])
                ),
                None,
            )
            or row.classes.get(f"/{subkind}")
            or (row.classes.get("*") if kind else None)
        )
    if role is None and operation is not None:
        role = OPERATIONS.get(operation, "span")
    if role != "leaf":
        return role, operation
    if operation in OPERATIONS and operation != "llm_call":
        return role, operation
    if kind is not None and kind.startswith("ai."):
        return role, "embeddings" if kind.endswith("doEmbed") else "rerank" if kind.endswith("doRerank") else "chat"
    return role, _CALLED.get(kind or "", "chat")
