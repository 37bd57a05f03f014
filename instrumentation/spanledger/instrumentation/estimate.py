"""How many tokens a text has when nobody has counted them: a formula over what it is made of."""

import re
from collections.abc import Mapping
from typing import Any

# Fitted on 380 pieces of code, Markdown, JSON, prose, JavaScript, CJK, base64 and hexadecimal against o200k: mean error on the
# half that was not fitted 9 % (prose 4, code 9, JSON 11, CJK 12, base64 31), where four characters a token has 21 %.
_CHARACTER = 0.193
_MARKS = 0.463
_DIGITS = 1.109
_UNBROKEN = 0.116
_IDEOGRAPH = 0.506
_HANGUL = 0.696
_OTHER = 0.534

_MARK = re.compile(r"[^\w\s]+")
_DIGIT = re.compile(r"\d{1,3}")
_CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")
_KOREAN = re.compile("[\uac00-\ud7af]")

#: Texts longer than this are measured on pieces: a prompt of a megabyte must not cost its caller milliseconds.
LONGEST = 8_192
_PIECES = 8

#: Tokens for what is not text: an image of common size; a page of a document is of the same order.
NOT_TEXT = 1_600
_PER_MESSAGE = 4

#: Characters of an answer for one token; an answer comes in pieces of one token or more.
_ANSWER_CHARACTERS = 4.2


def tokens(text: str) -> int:
    """The most likely number of tokens of this text."""
    if len(text) <= LONGEST:
        return round(_weight(text))
    size = LONGEST // _PIECES
    step = (len(text) - size) / (_PIECES - 1)
    measured = sum(_weight(text[round(place * step) : round(place * step) + size]) for place in range(_PIECES))
    return round(measured * len(text) / LONGEST)


def _weight(text: str) -> float:
    weight = _CHARACTER * len(text) + _MARKS * len(_MARK.findall(text)) + _DIGITS * len(_DIGIT.findall(text))
    if len(text) > 40:
        weight += _UNBROKEN * sum(len(word) for word in text.split() if len(word) > 40)
    if not text.isascii():
        ideographs, hangul = len(_CJK.findall(text)), len(_KOREAN.findall(text))
        ascii_only = len(text.encode("ascii", "ignore"))
        weight += _IDEOGRAPH * ideographs + _HANGUL * hangul + _OTHER * (len(text) - ascii_only - ideographs - hangul)
    return weight


def answer_tokens(pieces: int, characters: int) -> int:
    """The most likely number of tokens of an answer that came in this many pieces with this many characters."""
    return max(pieces, round(characters / _ANSWER_CHARACTERS))


def input_tokens(body: Any) -> int | None:
    """The most likely size of a request by its JSON body; None where its messages are an iterator: reading would empty it."""
    if not isinstance(body, Mapping):
        return None
    for name in ("messages", "input", "contents", "prompt"):
        if name in body and not isinstance(body[name], str | list | tuple | Mapping):
            return None
    return max(1, _count(body, 0))


def _count(value: Any, depth: int) -> int:
    if isinstance(value, str):
        return tokens(value)
    if depth > 12:
        return 0
    if isinstance(value, Mapping):
        kind = value.get("type")
        if isinstance(kind, str) and kind in _NOT_TEXT_TYPES:
            return NOT_TEXT
        names = value.keys() & _TEXT if depth == 0 else value.keys() - _PASSED_OVER
        return sum(_count(value[name], depth + 1) for name in names) + (_PER_MESSAGE if "role" in value else 0)
    if isinstance(value, list | tuple):
        if depth == 1 and value and isinstance(value[0], int):
            # Embeddings and completions take tokens as numbers.
            return len(value)
        return sum(_count(part, depth + 1) for part in value)
    if isinstance(value, bytes):
        return NOT_TEXT
    return 1 if isinstance(value, int | float) else 0


_TEXT = frozenset(
    {
        "messages", "system", "tools", "functions", "response_format", "input", "instructions", "prompt", "contents",
        "text", "texts", "query", "documents", "message", "chat_history", "preamble", "inputText", "toolConfig", "config",
        "inputs", "systemInstruction", "instances",
    }
)  # fmt: skip
_NOT_TEXT_TYPES = frozenset({"image_url", "image", "input_image", "input_audio", "document", "file", "input_file", "video_url"})
_PASSED_OVER = frozenset({"type", "cache_control", "id"})
