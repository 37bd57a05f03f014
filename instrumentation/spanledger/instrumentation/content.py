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

#: Where the clients keep what stands before the conversation, the conversation, and a text that is none.
_INSTRUCTIONS = ("system", "instructions", "systemInstruction", "preamble")
_CONVERSATIONS = ("messages", "input", "contents", "prompt", "inputs", "texts", "documents")


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
    said = next((body[name] for name in _INSTRUCTIONS if body.get(name)), None)
    return [{"role": "system", "parts": _parts(said)}] if said else []


def _inputs(body: Mapping[str, Any]) -> Messages:
    said = next((body[name] for name in _CONVERSATIONS if body.get(name) is not None), None)
    if said is None and isinstance(body.get("message"), str):
        # Cohere's first version: what was said before, and what is said now.
        said = [*(body.get("chat_history") or ()), {"role": "user", "content": body["message"]}]
    if isinstance(said, str):
        return [{"role": "user", "parts": _parts(said)}]
    if not isinstance(said, list | tuple):
        # An iterator: looking into it would keep its messages from the provider.
        return []
    messages = []
    for message in said:
        if isinstance(message, Mapping):
            content = next((message[name] for name in ("content", "parts", "message") if name in message), message)
            parts = _parts(content)
            parts += [_call(call) for call in message.get("tool_calls") or ()]
            messages.append({"role": str(message.get("role", "user")).lower(), "parts": parts})
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
        if isinstance(text := content.get("text"), str):
            return [{"type": "text", "content": text}]
        if isinstance(content.get("parts"), list):
            return _parts(content["parts"])
        return [_other(content)]
    return [{"type": type(content).__name__}]


def _other(part: Mapping[str, Any]) -> dict[str, Any]:
    """A tool called, or its answer, as each provider spells it; images, files and sound are told of, not recorded."""
    kind = part.get("type")
    if kind == "tool_use":
        return {"type": "tool_call", "id": part.get("id"), "name": part.get("name"), "arguments": part.get("input")}
    if kind == "tool_result":
        return {"type": "tool_call_response", "id": part.get("tool_use_id"), "response": part.get("content")}
    if isinstance(used := part.get("toolUse"), Mapping):
        return {"type": "tool_call", "id": used.get("toolUseId"), "name": used.get("name"), "arguments": used.get("input")}
    if isinstance(told := part.get("toolResult"), Mapping):
        return {"type": "tool_call_response", "id": told.get("toolUseId"), "response": told.get("content")}
    if isinstance(called := part.get("functionCall"), Mapping):
        return {"type": "tool_call", "id": called.get("id"), "name": called.get("name"), "arguments": called.get("args")}
    if isinstance(given := part.get("functionResponse"), Mapping):
        return {"type": "tool_call_response", "id": given.get("id"), "response": given.get("response")}
    return {"type": str(kind or next(iter(part), "other"))}


def _call(call: Any) -> dict[str, Any]:
    said: Any = call.get("function") if isinstance(call, Mapping) else None
    function: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
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
