"""Amazon Bedrock through botocore: boto3, aiobotocore and aioboto3 make every request by the same method."""

import json
from collections.abc import Mapping
from typing import Any

from spanledger.instrumentation.answer import Asked, Operation, nothing
from spanledger.instrumentation.aws_events import event_of
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.hosts import address_of
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.watching import AsyncPieces, Closable, Pieces
from spanledger.instrumentation.wires.bedrock import (
    read_converse,
    read_converse_event,
    read_invoke_event,
    read_invoke_headers,
)

OPERATIONS: Mapping[str, Operation] = {
    "Converse": Operation(name="chat", read=read_converse, counts_tokens=True),
    "ConverseStream": Operation(name="chat", read=nothing, read_event=read_converse_event, counts_tokens=True),
    "InvokeModel": Operation(name="chat", read=nothing, counts_tokens=True),
    "InvokeModelWithResponseStream": Operation(name="chat", read=nothing, read_event=read_invoke_event, counts_tokens=True),
}
_EMBEDDINGS = Operation(name="embeddings", read=nothing, counts_tokens=True)
_IMAGES = Operation(name="image_generation", read=nothing)

_PARAMETERS = (("temperature", "gen_ai.request.temperature"), ("topP", "gen_ai.request.top_p"))


def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
    operation = OPERATIONS.get(args[0])
    if operation is None or client.meta.service_model.service_name != "bedrock-runtime":
        return None
    parameters: Mapping[str, Any] = args[1]
    model = parameters.get("modelId")
    model = model if isinstance(model, str) else None
    attributes: dict[str, Any] = {"cloud.region": client.meta.region_name}
    body: Any = parameters
    if args[0] == "InvokeModel" and model is not None:
        if "embed" in model:
            operation = _EMBEDDINGS
        elif any(name in model for name in ("image", "stable-diffusion", "stability.", "canvas")):
            operation = _IMAGES
    if args[0].startswith("Invoke"):
        body = _document(parameters.get("body")) if settings.guard or settings.captures else {}
    limits: Any = body.get("inferenceConfig") or body
    limits = limits if isinstance(limits, Mapping) else {}
    for name, attribute in _PARAMETERS:
        if isinstance(limits.get(name), int | float):
            attributes[attribute] = limits[name]
    limit = limits.get("maxTokens", limits.get("max_tokens"))
    address, port = address_of(client.meta.endpoint_url)
    asked = Asked(
        operation=operation,
        provider="aws.bedrock",
        model=model,
        address=address,
        port=port,
        body=body,
        streamed=args[0].endswith("Stream"),
        max_output_tokens=limit if type(limit) is int else None,
        attributes=attributes,
    )

    def swap(other: str) -> None:
        asked.sent = client, (args[0], {**parameters, "modelId": other}, *args[2:]), kwargs

    if not args[0].startswith("Invoke"):
        # What InvokeModel sends is in the format of its model.
        asked.swap = swap
    return asked


def _document(body: Any) -> Mapping[str, Any]:
    """The body of an InvokeModel where it is at hand; a file is the application's to read."""
    if not isinstance(body, str | bytes | bytearray):
        return {}
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def watch(call: Call, result: dict[str, Any]) -> None:
    answer = call.answer
    told = result.get("ResponseMetadata") or {}
    if told.get("RequestId"):
        answer.say("aws.request_id", told["RequestId"])
    tier = result.get("serviceTier")
    if isinstance(tier, str) and tier:
        answer.say("gen_ai.response.service_tier", tier)
    if call.asked.streamed:
        _watch_stream(call, result["stream"] if "stream" in result else result["body"])
        return
    if "output" in result or "usage" in result:
        call.asked.operation.read(result, answer)
    else:
        read_invoke_headers(told.get("HTTPHeaders") or {}, answer)
    call.end()


def _watch_stream(call: Call, stream: Any) -> None:
    """The stream stays the client's own object; what it reads and closes inside is watched."""
    read = call.asked.operation.read_event

    def see(message: Any) -> None:
        event = event_of(message.headers, message.payload)
        if event is not None:
            read(event, call.answer)

    inner = stream._event_generator
    stream._event_generator = (AsyncPieces if hasattr(inner, "__anext__") else Pieces)(inner, call, see)
    stream._raw_stream = Closable(stream._raw_stream, call)


PROVIDER = Provider(
    name="bedrock",
    client="botocore",
    layers=(
        RequestLayer(module="botocore.client", owner="BaseClient", method="_make_api_call", style="sync"),
        RequestLayer(module="aiobotocore.client", owner="AioBaseClient", method="_make_api_call", style="async"),
    ),
    ask=ask,
    tested=("1.40.61", "1.43.117"),
    watch=watch,
)
