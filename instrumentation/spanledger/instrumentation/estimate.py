"""How large a request is before it is sent: its input tokens, rather too many than too few."""

from collections.abc import Mapping
from typing import Any

#: Tokens for what is not text: an image of common size; a page of a document is of the same order.
NOT_TEXT = 1_600
_PER_MESSAGE = 4


def input_tokens(body: Any) -> int:
    """An upper estimate for a request's JSON body. Iterators are not looked into: reading would empty them."""
    return max(1, _count(body, 0)) if isinstance(body, Mapping) else 1


def _count(value: Any, depth: int) -> int:
    if isinstance(value, str):
        # Measured on mixed text: four characters a token in prose, fewer in code and digits, one a token in CJK.
        if value.isascii():
            return -(-len(value) // 3)
        return -(-len(value.encode(errors="replace")) // 3)
    if depth > 12:
        return 0
    if isinstance(value, Mapping):
        kind = value.get("type")
        if isinstance(kind, str) and kind in _NOT_TEXT_TYPES:
            return NOT_TEXT
        names = value.keys() & _TEXT if depth == 0 else value.keys() - _PASSED_OVER
        return sum(_count(value[name], depth + 1) for name in names) + (_PER_MESSAGE if "role" in value else 0)
    if isinstance(value, list | tuple):
        return sum(_count(part, depth + 1) for part in value)
    if isinstance(value, bytes):
        return NOT_TEXT
    return 1 if isinstance(value, int | float) else 0


_TEXT = frozenset(
    {
        "messages", "system", "tools", "functions", "response_format", "input", "instructions", "prompt", "contents",
        "text", "texts", "query", "documents", "message", "chat_history", "preamble", "inputText", "toolConfig", "config",
    }
)  # fmt: skip
_NOT_TEXT_TYPES = frozenset({"image_url", "image", "input_image", "input_audio", "document", "file", "input_file", "video_url"})
_PASSED_OVER = frozenset({"type", "cache_control", "id"})
