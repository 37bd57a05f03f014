"""Google's live sessions over WebSocket: each turn of the model is a call."""

from typing import Any

from spanledger.instrumentation.answer import Answer, Asked, Operation
from spanledger.instrumentation.hosts import address_of
from spanledger.instrumentation.listening import Session
from spanledger.instrumentation.provider import RequestLayer
from spanledger.instrumentation.usage import Usage, count


def _usage(said: Any) -> Usage:
    prompt, tools = count(said, "prompt_token_count"), count(said, "tool_use_prompt_token_count")
    thoughts = count(said, "thoughts_token_count")
    read, made = _by_modality(said.prompt_tokens_details), _by_modality(said.response_tokens_details)
    return Usage(
        input=None if prompt is None else prompt + (tools or 0),
        output=(count(said, "response_token_count") or 0) + (thoughts or 0),
        cache_read=count(said, "cached_content_token_count"),
        reasoning=thoughts,
        input_audio=read.get("AUDIO"),
        output_audio=made.get("AUDIO"),
        input_image=read.get("IMAGE"),
        output_image=made.get("IMAGE"),
    )


def _by_modality(details: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for detail in details or ():
        modality = str(getattr(detail.modality, "value", detail.modality))
        counts[modality] = counts.get(modality, 0) + (detail.token_count or 0)
    return counts


def _read(usage: Any, answer: Answer) -> None:
    answer.usage = _usage(usage)
    answer.finish("stop")
    answer.finished = True


_TURN = Operation(name="generate_content", read=_read)


def hear_connected(session: Session, connection: Any, asked_for: dict[str, Any]) -> None:
    """Only what a session was asked for says which model answers in it."""
    session.about["model"] = str(asked_for.get("model") or "").rpartition("/")[2] or None


def hear(session: Session, connection: Any, message: Any) -> None:
    """The usage is that of a turn: each model's grows with the conversation, and is not added up over turns. It comes with
    the end of the turn or in a message after it, and again in between: the last one counts. A call of a tool ends a turn
    as far as the model is concerned."""
    content, usage = message.server_content, message.usage_metadata
    if usage is not None:
        session.about["usage"] = usage
    if content is not None and (content.model_turn is not None or content.output_transcription is not None):
        session.about["ended"] = False
        if "turn" not in session.about:
            session.about["turn"] = session.begin("turn", _asked(session, connection)) is not None
    if (content is not None and content.turn_complete) or message.tool_call is not None:
        session.about["ended"] = True
    if session.about.get("ended") and (told := session.about.pop("usage", None)) is not None:
        del session.about["ended"]
        session.about.pop("turn", None)
        call = session.take("turn") or session.begin("turn", _asked(session, connection))
        if call is not None:
            session.take("turn")
            _TURN.read(told, call.answer)
            call.end()


def _asked(session: Session, connection: Any) -> Asked:
    client = connection._api_client
    vertex = bool(client.vertexai)
    attributes: dict[str, Any] = {}
    if vertex and isinstance(region := getattr(client, "location", None), str):
        attributes["cloud.region"] = region
    address, port = address_of("/".join(str(client._http_options.base_url or "").split("/", 3)[:3]))
    return Asked(
        operation=_TURN,
        provider="gcp.vertex_ai" if vertex else "gcp.gemini",
        model=session.about.get("model"),
        address=address,
        port=port or 443,
        streamed=True,
        attributes=attributes,
    )


_MODULE = "google.genai.live"

LAYERS = (
    RequestLayer(module=_MODULE, owner="AsyncLive", method="connect", style="listen_connected", hear=hear_connected),
    RequestLayer(module=_MODULE, owner="AsyncSession", method="_receive", style="listen_async", hear=hear),
)
