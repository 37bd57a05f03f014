"""What is spoken over WebSocket: OpenAI's realtime API and responses, Google's live API."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from spanledger.cli.provider_stand_in.usage import StandInUsage, texts, usage_of
from spanledger.cli.provider_stand_in.websocket import Conversation
from spanledger.cli.provider_stand_in.wire import Request, words

TRANSCRIBER = "gpt-4o-mini-transcribe"


def converse(request: Request) -> Conversation | None:
    if request.path.endswith("/realtime"):
        return Realtime(request)
    if request.path.endswith("/responses"):
        return Responses(request)
    # Google's client is given the whole address where its own is not used.
    return Live(request) if request.path in ("", "/") or "BidiGenerateContent" in request.path else None


class Realtime:
    """OpenAI's: items gather, `response.create` answers them. A committed audio buffer is transcribed."""

    def __init__(self, request: Request) -> None:
        self._model = parse_qs(request.query).get("model", ["gpt-realtime"])[0]
        self._number = request.number * 10_000
        self._said: list[Any] = []

    def greeting(self) -> Iterable[dict[str, Any]]:
        transcription = {"input": {"transcription": {"model": TRANSCRIBER}}}
        yield self._event("session.created", session={"type": "realtime", "model": self._model, "audio": transcription})

    def answer(self, message: dict[str, Any]) -> Iterable[dict[str, Any]]:
        kind = message.get("type")
        if kind == "conversation.item.create":
            self._said.append(message["item"])
            yield self._event("conversation.item.added", item=message["item"])
        elif kind == "input_audio_buffer.commit":
            used = {"type": "tokens", "input_tokens": 26, "output_tokens": 8, "total_tokens": 34}
            used["input_token_details"] = {"text_tokens": 0, "audio_tokens": 26}
            yield self._event(
                "conversation.item.input_audio_transcription.completed",
                item_id=f"item_{self._number:08d}", content_index=0, transcript="Every call is counted once.", usage=used,
            )  # fmt: skip
        elif kind == "response.create":
            yield from self._respond()

    def _respond(self) -> Iterable[dict[str, Any]]:
        prompt = " ".join(texts(self._said))
        response: dict[str, Any] = {
            "object": "realtime.response", "id": f"resp_{self._number:08d}", "status": "in_progress", "output": [], "usage": None,
        }  # fmt: skip
        self._number += 1
        yield self._event("response.created", response=dict(response))
        if "[[never]]" in prompt:
            return
        usage = usage_of({"input": prompt})
        for word in words(usage.output):
            yield self._event("response.output_text.delta", response_id=response["id"], delta=word)
        failed = "[[fail]]" in prompt
        response["status"] = "failed" if failed else "completed"
        if failed:
            response["status_details"] = {"type": "failed", "error": {"type": "server_error", "code": "rate_limit_exceeded"}}
        yield self._event("response.done", response={**response, "usage": _usage(usage)})

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "event_id": f"event_{self._number:08d}", **more}


def _usage(usage: StandInUsage) -> dict[str, Any]:
    return {
        "total_tokens": usage.input + usage.output,
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "input_token_details": {
            "text_tokens": usage.input - usage.audio,
            "audio_tokens": usage.audio,
            "image_tokens": 0,
            "cached_tokens": usage.cache_read,
            "cached_tokens_details": {"text_tokens": usage.cache_read, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": usage.output, "audio_tokens": 0},
    }


class Responses:
    """OpenAI's responses over one connection: each `response.create` is one call."""

    def __init__(self, request: Request) -> None:
        self._number = request.number * 10_000

    def greeting(self) -> Iterable[dict[str, Any]]:
        return ()

    def answer(self, message: dict[str, Any]) -> Iterable[dict[str, Any]]:
        asked = message.get("response") or message
        usage = usage_of(asked)
        self._number += 1
        response: dict[str, Any] = {
            "id": f"resp_{self._number:08d}", "object": "response", "created_at": 1_790_000_000, "status": "in_progress",
            "model": asked.get("model"), "output": [], "usage": None, "parallel_tool_calls": True, "tool_choice": "auto",
            "tools": [],
        }  # fmt: skip
        yield {"type": "response.created", "sequence_number": 0, "response": dict(response)}
        used = {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cache_read},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        }
        yield {"type": "response.completed", "sequence_number": 1, "response": {**response, "status": "completed", "usage": used}}


class Live:
    """Google's: a turn is answered in pieces, and its usage comes with the end of the turn."""

    def __init__(self, request: Request) -> None:
        self._turns = 0

    def greeting(self) -> Iterable[dict[str, Any]]:
        return ()

    def answer(self, message: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if "setup" in message:
            yield {"setupComplete": {}}
            return
        said = message.get("clientContent") or message.get("client_content") or {}
        if not said:
            return
        usage = usage_of({"contents": said.get("turns") or []})
        self._turns += 1
        for word in words(3):
            yield {"serverContent": {"modelTurn": {"role": "model", "parts": [{"text": word}]}}}
        used = {
            "promptTokenCount": usage.input,
            "responseTokenCount": usage.output - usage.reasoning,  # of the Gemini API
            "candidatesTokenCount": usage.output - usage.reasoning,  # of Vertex AI
            "thoughtsTokenCount": usage.reasoning,
            "cachedContentTokenCount": usage.cache_read,
            "totalTokenCount": usage.input + usage.output,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": usage.audio}],
        }
        yield {"serverContent": {"generationComplete": True}}
        # With the end of the turn, and every second time in a message after it.
        if self._turns % 2:
            yield {"serverContent": {"turnComplete": True}, "usageMetadata": used}
        else:
            yield {"serverContent": {"turnComplete": True}}
            yield {"usageMetadata": used}
