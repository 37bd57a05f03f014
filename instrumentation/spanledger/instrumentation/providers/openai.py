"""OpenAI and AzureOpenAI, and whoever is reached through their `base_url`."""

from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.harvest import Harvest, id_when
from spanledger.instrumentation.hosts import takes_stream_options
from spanledger.instrumentation.provider import Ask, Provider
from spanledger.instrumentation.providers import openai_sessions
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import asking, is_raw, layers, sampling, send
from spanledger.instrumentation.usage import field
from spanledger.instrumentation.wires.openai_chat import chat_usage, read_chat, read_chat_event
from spanledger.instrumentation.wires.openai_media import (
    read_embeddings,
    read_image_event,
    read_images,
    read_moderation,
    read_speech,
    read_speech_event,
    read_transcription,
    read_transcription_event,
    read_video,
)
from spanledger.instrumentation.wires.openai_responses import read_batch, read_response, read_response_event

__all__ = ["OPERATIONS", "PROVIDER", "ask", "chat_usage", "read_chat", "read_chat_event"]

_RESPONSES = Operation(name="chat", read=read_response, read_event=read_response_event, counts_tokens=True)
_IMAGES = Operation(name="image_generation", read=read_images, read_event=read_image_event)
_VIDEOS = Operation(name="video_generation", read=read_video)

#: By the end of the path; the first that fits wins, so the longer ones stand first.
OPERATIONS: Mapping[str, Operation] = {
    "/chat/completions": Operation(name="chat", read=read_chat, read_event=read_chat_event, counts_tokens=True, skims=True),
    "/completions": Operation(name="text_completion", read=read_chat, read_event=read_chat_event, counts_tokens=True),
    "/responses": _RESPONSES,
    "/responses/compact": _RESPONSES,
    "/decisions": Operation(name="decision", read=read_response, read_event=read_response_event),
    "/embeddings": Operation(name="embeddings", read=read_embeddings, counts_tokens=True),
    "/moderations": Operation(name="moderation", read=read_moderation),
    "/images/generations": _IMAGES,
    "/images/edits": _IMAGES,
    "/images/variations": _IMAGES,
    "/audio/speech": Operation(name="speech", read=read_speech, read_event=read_speech_event),
    "/audio/transcriptions": Operation(name="transcription", read=read_transcription, read_event=read_transcription_event),
    "/audio/translations": Operation(name="translation", read=read_transcription, read_event=read_transcription_event),
    "/videos": _VIDEOS,
    "/videos/edits": _VIDEOS,
    "/videos/extensions": _VIDEOS,
}


_RARE = frozenset({"n", "reasoning_effort", "reasoning", "service_tier", "previous_response_id"})


def _extra(body: Mapping[str, Any], attributes: dict[str, Any]) -> None:
    sampling(body, attributes)
    if _RARE.isdisjoint(body):
        return
    choices = body.get("n")
    if type(choices) is int and choices != 1:
        attributes["gen_ai.request.choice.count"] = choices
    effort = body.get("reasoning_effort")
    reasoning = body.get("reasoning")
    if effort is None and isinstance(reasoning, Mapping):
        effort = reasoning.get("effort")
    if isinstance(effort, str):
        attributes["gen_ai.request.reasoning.level"] = effort
    for parameter, name in (
        ("service_tier", "openai.request.service_tier"),
        ("previous_response_id", "gen_ai.request.previous_response.id"),
    ):
        if isinstance(value := body.get(parameter), str):
            attributes[name] = value


def _media(asked: Asked) -> None:
    """What only the request says: how many characters are spoken, how large and good an image is to be."""
    body, attributes = asked.body, asked.attributes
    name = asked.operation.name
    if name == "speech":
        spoken = body.get("input")
        if isinstance(spoken, str):
            attributes["spanledger.meter.characters"] = len(spoken)
    elif name == "image_generation":
        for parameter in ("size", "quality"):
            if isinstance(body.get(parameter), str):
                attributes[f"openai.request.image.{parameter}"] = body[parameter]
    elif name == "embeddings" and type(body.get("dimensions")) is int:
        attributes["gen_ai.embeddings.dimension.count"] = body["dimensions"]


def with_media(ask: Ask) -> Ask:
    """The same for a client that has these operations too."""

    def asking_media(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
        asked = ask(client, args, kwargs, settings)
        if asked is not None and asked.operation.name not in _ASKABLE:
            _media(asked)
        return asked

    return asking_media


def _default(client: Any) -> str:
    return "azure.ai.openai" if "Azure" in type(client).__name__ else "openai"


_BACKGROUND = Harvest(
    operation=_RESPONSES,
    told=lambda response: id_when(response, "completed", "incomplete") if field(response, "background") else None,
)
_BATCH = Harvest(
    operation=Operation(name="chat", read=read_batch),
    told=lambda batch: id_when(batch, "completed", "expired", "cancelled"),
)


def _fetched(path: str) -> Harvest | None:
    *_, folder, name = path.rsplit("/", 2)
    if name.startswith("resp_") and folder == "responses":
        return _BACKGROUND
    return _BATCH if folder == "batches" else None


_ask = asking(OPERATIONS, _default, _extra, fetched=_fetched)
_ASKABLE = ("chat", "text_completion")


def _has_content(chunk: Any) -> bool:
    """False for the chunk that only carries the usage we asked for; hides the null usage that others then have."""
    if chunk.usage is not None and not chunk.choices:
        return False
    chunk.__pydantic_fields_set__.discard("usage")
    return True


def _ask_for_usage(asked: Asked, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    send(asked, client, args, kwargs, {"stream_options": {"include_usage": True}})
    asked.keep = _has_content


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    asked = _ask(client, args, kwargs, settings)
    if asked is None or asked.harvest is not None:
        return asked
    if asked.operation.name not in _ASKABLE:
        _media(asked)
    elif (
        asked.streamed
        and asked.operation is not _RESPONSES
        and takes_stream_options(asked.address or "")
        and "stream_options" not in asked.body
        and not is_raw(args[1] if len(args) > 1 else kwargs["options"])
    ):
        asked.add = lambda: _ask_for_usage(asked, client, args, kwargs)
    return asked


PROVIDER = Provider(
    name="openai",
    client="openai",
    layers=(*layers("openai._base_client"), *openai_sessions.LAYERS),
    ask=ask,
    tested=("1.66.0", "3.57.0"),
)
