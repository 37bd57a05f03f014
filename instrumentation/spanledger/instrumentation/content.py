"""What was said to a model and by it, in the conventions' form; recorded only when the application's environment asks for it."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from spanledger.instrumentation.answer import Answer, Asked

logger = logging.getLogger("spanledger.instrumentation")

Messages = list[dict[str, Any]]
Redact = Callable[[Messages], Messages | None]
"""Gets messages in the conventions' form (`role`, `parts`) and gives what may be recorded; None records nothing of them."""


def put(asked: Asked, answer: Answer, attributes: dict[str, Any], redact: Redact | None) -> None:
    """Add the messages of a call to the attributes of its span."""
    body = asked.body if isinstance(asked.body, Mapping) else {}
    for name, messages in (
        ("gen_ai.system_instructions", _instructions(body)),
        ("gen_ai.input.messages", _inputs(body)),
        ("gen_ai.output.messages", _outputs(answer)),
    ):
        try:
            kept = messages if redact is None or not messages else redact(messages)
        except Exception:
            # The application's own hook: what it has not seen is not recorded.
            logger.exception("the redact hook failed; the messages are not recorded")
            continue
        if kept:
            attributes[name] = json.dumps(kept, default=str, ensure_ascii=False)


def _instructions(body: Mapping[str, Any]) -> Messages:
    said = body.get("system") or body.get("instructions")
    return [{"role": "system", "parts": _parts(said)}] if said else []


def _inputs(body: Mapping[str, Any]) -> Messages:
    said = next((body[name] for name in ("messages", "input", "prompt") if name in body), None)
    if isinstance(said, str):
        return [{"role": "user", "parts": _parts(said)}]
    if not isinstance(said, list | tuple):
        # An iterator: looking into it would keep its messages from the provider.
        return []
    messages = []
    for message in said:
        if isinstance(message, Mapping):
            parts = _parts(message.get("content", message))
            parts += [_call(call) for call in message.get("tool_calls") or ()]
            messages.append({"role": str(message.get("role", "user")), "parts": parts})
        else:
            messages.append({"role": "user", "parts": _parts(message)})
    return messages


def _parts(content: Any) -> list[dict[str, Any]]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    if isinstance(content, list | tuple):
        return [part for piece in content for part in _parts(piece)]
    if isinstance(content, Mapping):
        kind = content.get("type")
        if isinstance(text := content.get("text"), str):
            return [{"type": "text", "content": text}]
        if kind == "tool_use":
            return [
                {"type": "tool_call", "id": content.get("id"), "name": content.get("name"), "arguments": content.get("input")}
            ]
        if kind == "tool_result":
            return [{"type": "tool_call_response", "id": content.get("tool_use_id"), "response": content.get("content")}]
        # Images, files and sound are told of, not recorded.
        return [{"type": str(kind or "other")}]
    return [{"type": type(content).__name__}]


def _call(call: Any) -> dict[str, Any]:
    function: Mapping[str, Any] = call.get("function") or {} if isinstance(call, Mapping) else {}
    return {"type": "tool_call", "name": function.get("name"), "arguments": function.get("arguments")}


def _outputs(answer: Answer) -> Messages:
    reasons = answer.finish_reasons or {}
    return [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "".join(texts)}],
            "finish_reason": reasons.get(index, "error"),
        }
        for index, texts in sorted((answer.heard or {}).items())
    ]
