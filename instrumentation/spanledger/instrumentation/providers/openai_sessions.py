"""OpenAI's sessions over WebSocket: realtime, and responses on one connection."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.engine import ENGINE
from spanledger.instrumentation.hosts import address_of, provider_of
from spanledger.instrumentation.listening import Session
from spanledger.instrumentation.provider import RequestLayer
from spanledger.instrumentation.wires.openai_realtime import HEARD, REALTIME, RESPONSE, event_of, models_of

#: Over which modules the connections are spread, in versions of two years.
_REALTIME = ("openai.resources.realtime.realtime", "openai.resources.beta.realtime.realtime")
_RESPONSES = ("openai.resources.responses.responses", "openai.resources.beta.responses.responses")


def hear_realtime(session: Session, connection: Any, message: str | bytes) -> None:
    event = event_of(message)
    kind = None if event is None else event.get("type")
    if event is None or kind is None:
        return
    if kind in ("session.created", "session.updated"):
        session.about["models"] = models_of(event.get("session") or {})
    elif kind == "response.created":
        session.begin(event["response"]["id"], _asked(session, connection, REALTIME))
    elif kind == "response.done":
        response = event["response"]
        call = session.take(response["id"]) or session.begin(response["id"], _asked(session, connection, REALTIME))
        if call is not None:
            session.take(response["id"])
            REALTIME.read(response, call.answer)
            call.end()
    elif kind == "conversation.item.input_audio_transcription.completed" and event.get("usage"):
        call = session.begin(event["item_id"], _asked(session, connection, HEARD))
        if call is not None:
            session.take(event["item_id"])
            HEARD.read(event, call.answer)
            call.end()


def hear_responses(session: Session, connection: Any, message: str | bytes) -> None:
    event = event_of(message)
    kind = None if event is None else event.get("type")
    if event is None or kind is None or not kind.startswith("response."):
        return
    response = event.get("response") or {}
    key, model = response.get("id"), response.get("model")
    if key is None:
        return
    session.about["models"] = (model, None)
    if kind == "response.created":
        session.begin(key, _asked(session, connection, RESPONSE))
    elif kind in ("response.completed", "response.incomplete", "response.failed"):
        call = session.take(key) or session.begin(key, _asked(session, connection, RESPONSE))
        if call is not None:
            session.take(key)
            RESPONSE.read(response, call.answer)
            call.end()


def _asked(session: Session, connection: Any, operation: Operation) -> Asked:
    if "where" not in session.about:
        session.about["where"] = _where(connection)
    default, address, port, named = session.about["where"]
    answering, hearing = session.about.get("models", (None, None))
    return Asked(
        operation=operation,
        provider=provider_of(address, port, default, ENGINE.settings.hosts),
        model=hearing if operation is HEARD else answering or named,
        address=address,
        port=port,
        streamed=operation is not HEARD,
    )


def _where(connection: Any) -> tuple[str, str, int | None, str | None]:
    """The provider if its host does not say it, host, port, and the model that the address names."""
    request = getattr(connection._connection, "request", None)
    path = getattr(request, "path", "") or ""
    host, port = address_of(str(request.headers.get("Host") or "")) if request is not None else ("", None)
    asked = parse_qs(urlsplit(path).query)
    model = next((asked[name][0] for name in ("model", "deployment") if name in asked), None)
    return "azure.ai.openai" if path.startswith("/openai/") else "openai", host, port or 443, model


def _layers(module: str, kind: str, hear: Any) -> tuple[RequestLayer, ...]:
    return (
        RequestLayer(module=module, owner=f"{kind}Connection", method="recv_bytes", style="listen", hear=hear),
        RequestLayer(module=module, owner=f"Async{kind}Connection", method="recv_bytes", style="listen_async", hear=hear),
    )


LAYERS = (
    *(layer for module in _REALTIME for layer in _layers(module, "Realtime", hear_realtime)),
    *(layer for module in _RESPONSES for layer in _layers(module, "Responses", hear_responses)),
)
