"""OpenAI's messages over WebSocket: realtime sessions, and responses on one connection."""

import json
from typing import Any

from spanledger.instrumentation.answer import Answer, Operation
from spanledger.instrumentation.usage import field
from spanledger.instrumentation.wires.openai_media import read_transcription
from spanledger.instrumentation.wires.openai_responses import read_response, responses_usage


def read_realtime(response: dict[str, Any], answer: Answer) -> None:
    """A response of a session that is done. One that somebody spoke into is cancelled, and charged."""
    answer.id = response.get("id")
    usage = response.get("usage")
    if usage is not None:
        answer.usage = responses_usage(usage)
    status = response.get("status")
    if status == "failed":
        error = field(response.get("status_details") or {}, "error") or {}
        answer.error = str(field(error, "code") or field(error, "type") or "failed")
    elif status == "completed":
        answer.finish("stop")
    elif status is not None:
        answer.finish(status)
    answer.finished = True


def read_heard(event: dict[str, Any], answer: Answer) -> None:
    """What was spoken is written down by another model, at a price of its own."""
    answer.id = event.get("item_id")
    read_transcription(event, answer)


REALTIME = Operation(name="chat", read=read_realtime)
HEARD = Operation(name="transcription", read=read_heard)
RESPONSE = Operation(name="chat", read=read_response)

_ENDS = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"response.done"')
_OF_CALLS = (b'"response.created"', b'"session.', b'transcription.completed"', *_ENDS)


def event_of(message: str | bytes) -> dict[str, Any] | None:
    """The event in a message, where it may be one that tells of calls: the others, of which there are many and which
    carry the sound, are not parsed."""
    raw = message.encode() if isinstance(message, str) else message
    if not any(mark in raw for mark in _OF_CALLS):
        return None
    event = json.loads(raw)
    return event if isinstance(event, dict) else None


def models_of(session: dict[str, Any]) -> tuple[str | None, str | None]:
    """The model that answers in a session, and the one that writes down what is said."""
    heard = field(field(field(session, "audio") or {}, "input") or {}, "transcription") or session.get(
        "input_audio_transcription"
    )
    return session.get("model"), field(heard or {}, "model")
