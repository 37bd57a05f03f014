"""Watches what a client returns: an object, a stream, a raw response whose body is read or is still to come."""

import json
from typing import Any

from spanledger.instrumentation.bodies import reader_for
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.failure import said
from spanledger.instrumentation.skimming import async_skimmed, skimmed, skims
from spanledger.instrumentation.streams import async_events, events, watch_body

#: How each type of result is watched; found once per type, by shape, so that no private class is imported.
_shapes: dict[type, str] = {}


def watch(call: Call, result: Any) -> None:
    """Read it and end the call, or arrange that the call ends when the application is through with it."""
    kind = type(result)
    shape = _shapes.get(kind)
    if shape is None:
        if len(_shapes) > 1_000:
            _shapes.clear()
        shape = _shapes[kind] = _shape(result)
    if shape == "object":
        call.asked.operation.read(result, call.answer)
        call.end()
    elif shape == "stream":
        _watch_stream(call, result)
    elif shape == "raw":
        watch_response(call, result.http_response)
    elif shape == "response":
        watch_response(call, result)
    else:
        call.answer.finished = True
        if result[:1] in ("{", b"{"):
            call.asked.operation.read(json.loads(result), call.answer)
        call.end()


def _shape(result: Any) -> str:
    if isinstance(result, str | bytes):
        return "text"
    if hasattr(result, "_iterator") and hasattr(result, "response"):
        return "stream"
    if hasattr(result, "http_response"):
        return "raw"
    if hasattr(result, "is_stream_consumed") and hasattr(result, "stream"):
        return "response"
    return "object"


def _watch_stream(call: Call, stream: Any) -> None:
    operation = call.asked.operation
    inner = stream._iterator
    if skims(call):
        stream._iterator = (async_skimmed if hasattr(inner, "__anext__") else skimmed)(inner, call)
    else:
        watched = async_events if hasattr(inner, "__anext__") else events
        stream._iterator = watched(inner, call, operation.read_event, call.asked.keep)
    watch_body(stream.response, call)


def watch_response(call: Call, response: Any) -> None:
    operation = call.asked.operation
    if response.status_code >= 400:
        # Some clients raise only after their request layer has given the answer back.
        call.answer.error = failure(response)
        call.answer.finished = True
        if response.is_stream_consumed or response.is_closed:
            call.end()
        else:
            watch_body(response, call)
        return
    if response.is_stream_consumed or response.is_closed:
        if "json" in response.headers.get("content-type", ""):
            operation.read(json.loads(response.content), call.answer)
        else:
            call.answer.finished = True
        call.end()
        return
    reader = reader_for(response, operation, call.answer)
    if reader is None:
        call.answer.finished = True
    watch_body(response, call, reader)


def failure(response: Any) -> str:
    """The provider's own code for a failed answer where its body is at hand, else the status."""
    told = None
    if response.is_stream_consumed or response.is_closed:
        try:
            told = said(json.loads(response.content))
        except ValueError:
            told = None
    return told or str(response.status_code)
