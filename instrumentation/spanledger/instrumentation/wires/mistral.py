"""What Mistral has beside OpenAI's format: conversations and pages read."""

from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import count, field
from spanledger.instrumentation.wires.openai_chat import chat_usage, read_chat


def read_conversation(answered: Any, answer: Answer) -> None:
    answer.id = field(answered, "conversation_id")
    usage = field(answered, "usage")
    if usage is not None:
        answer.usage = chat_usage(usage)
        for name, number in (field(usage, "connectors") or {}).items():
            if name.startswith("web_search") and type(number) is int:
                answer.meter("searches", number)
    for output in field(answered, "outputs") or ():
        if (model := field(output, "model")) is not None:
            answer.model = model
        if answer.heard is not None:
            answer.hear(_text(field(output, "content")))
    answer.finished = True


def read_conversation_event(event: Any, answer: Answer) -> None:
    kind = field(event, "type")
    if kind == "conversation.response.started":
        answer.id = field(event, "conversation_id")
    elif kind == "message.output.delta":
        answer.model = answer.model or field(event, "model")
        answer.hear(_text(field(event, "content")))
    elif kind == "conversation.response.done":
        identity = answer.id
        read_conversation(event, answer)
        answer.id = identity
    elif kind == "conversation.response.error":
        answer.error = str(field(event, "code") or "error")


def _text(content: Any) -> str:
    """A text, or pieces of one."""
    if isinstance(content, str):
        return content
    pieces = content if isinstance(content, list) else [content]
    return "".join(field(piece, "text") or "" for piece in pieces)


def read_pages(answered: Any, answer: Answer) -> None:
    answer.model = field(answered, "model")
    usage = field(answered, "usage_info")
    pages = None if usage is None else count(usage, "pages_processed")
    if pages is not None:
        answer.meter("pages", pages)
    answer.finished = True


def read_transcription(answered: Any, answer: Answer) -> None:
    read_chat(answered, answer)
    usage = field(answered, "usage")
    seconds = None if usage is None else count(usage, "prompt_audio_seconds")
    if seconds:
        answer.meter("audio_seconds", seconds)
