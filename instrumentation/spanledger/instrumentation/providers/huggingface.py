"""Hugging Face InferenceClient: chat, text generation, embeddings, images; Hugging Face's router or a provider itself."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spanledger.instrumentation.answer import Answer, Asked, Operation
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.hosts import address_of, provider_of
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.stainless import sampling
from spanledger.instrumentation.usage import Usage, count, field
from spanledger.instrumentation.watching import AsyncPieces, Pieces
from spanledger.instrumentation.wires.openai_chat import read_chat, read_chat_event


def _read_text(answered: Any, answer: Answer) -> None:
    """Counts are told with `details=True` only."""
    first = answered[0] if isinstance(answered, list) and answered else answered
    details = field(first, "details") if isinstance(first, dict) else None
    if details is not None:
        _use_details(details, answer)
    if answer.heard is not None:
        answer.hear(field(first, "generated_text") or "")
    answer.finished = True


def _read_text_event(event: Any, answer: Answer) -> None:
    answer.hear(field(field(event, "token") or {}, "text") or "")
    details = field(event, "details")
    if details is not None:
        _use_details(details, answer)
        answer.finished = True
    elif field(event, "generated_text") is not None:
        answer.finished = True
    error = field(event, "error_type") or field(event, "error")
    if error:
        answer.error = str(error)


def _use_details(details: Any, answer: Answer) -> None:
    prefill = field(details, "prefill")
    read = count(details, "input_length")
    answer.usage = Usage(
        input=len(prefill) if read is None and prefill else read,
        output=count(details, "generated_tokens"),
    )
    reason = field(details, "finish_reason")
    if reason:
        answer.finish(reason)


def _read_nothing(_: Any, answer: Answer) -> None:
    answer.finished = True


def _read_image(_: Any, answer: Answer) -> None:
    answer.meter("images", 1)
    answer.finished = True


#: By the client's name of the task.
OPERATIONS: Mapping[str, Operation] = {
    "conversational": Operation(name="chat", read=read_chat, read_event=read_chat_event, counts_tokens=True),
    "text-generation": Operation(name="text_completion", read=_read_text, read_event=_read_text_event, counts_tokens=True),
    "feature-extraction": Operation(name="embeddings", read=_read_nothing, counts_tokens=True),
    "text-to-image": Operation(name="image_generation", read=_read_image),
    "text-to-speech": Operation(name="speech", read=_read_nothing),
    "automatic-speech-recognition": Operation(name="transcription", read=_read_nothing),
}


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    request = args[0] if args else kwargs["request_parameters"]
    operation = OPERATIONS.get(request.task)
    if operation is None:
        return None
    body = request.json
    body = body if isinstance(body, Mapping) else {}
    parameters = body.get("parameters")
    attributes: dict[str, Any] = {}
    sampling(parameters if isinstance(parameters, Mapping) else body, attributes)
    if operation.name == "speech" and isinstance(spoken := body.get("inputs"), str):
        attributes["spanledger.meter.characters"] = len(spoken)
    address, port = address_of("/".join(request.url.split("/", 3)[:3]))
    # A server of one's own stands where the model would, as an address.
    model = body.get("model") or request.model
    model = None if isinstance(model, str) and model.startswith("http") else model
    limit = (parameters or {}).get("max_new_tokens") if isinstance(parameters, Mapping) else body.get("max_tokens")
    asked = Asked(
        operation=operation,
        # The router charges for whom it routes to; a provider that is asked directly charges itself.
        provider=provider_of(address, port, "huggingface", settings.hosts),
        model=model if isinstance(model, str) else None,
        address=address,
        port=port,
        body=body,
        streamed=bool(kwargs.get("stream")),
        max_output_tokens=limit if type(limit) is int else None,
        attributes=attributes,
    )

    def swap(other: str) -> None:
        changed = replace(request, model=other, json={**body, "model": other})
        if args:
            asked.sent = client, (changed, *args[1:]), kwargs
        else:
            asked.sent = client, args, {**kwargs, "request_parameters": changed}

    if "model" in body:
        # Elsewhere it is a part of the address.
        asked.swap = swap
    return asked


def watch(call: Call, result: Any) -> Any:
    operation, answer = call.asked.operation, call.answer
    if not call.asked.streamed:
        readable = operation.name in ("chat", "text_completion")
        operation.read(json.loads(result) if readable else None, answer)
        call.end()
        return None

    def see(line: str | bytes) -> None:
        # Bytes before version 1.
        line = line.decode() if isinstance(line, bytes) else line
        if line.startswith("data:") and (said := line[5:].strip()) != "[DONE]":
            event = json.loads(said)
            if type(event) is dict:
                operation.read_event(event, answer)

    # Lines of the body, which the client parses in a generator of its own.
    return (AsyncPieces if hasattr(result, "__anext__") else Pieces)(result, call, see)


PROVIDER = Provider(
    name="huggingface",
    client="huggingface-hub",
    layers=(
        RequestLayer(module="huggingface_hub.inference._client", owner="InferenceClient", method="_inner_post", style="sync"),
        RequestLayer(
            module="huggingface_hub.inference._generated._async_client",
            owner="AsyncInferenceClient",
            method="_inner_post",
            style="async",
        ),
    ),
    ask=ask,
    tested=("0.36.0", "2.4.0"),
    watch=watch,
)
