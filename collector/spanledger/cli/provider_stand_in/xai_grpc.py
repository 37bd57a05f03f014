"""xAI's wire format: its chat service over gRPC, with the messages of its own SDK, which has to be installed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import grpc

from spanledger.cli.provider_stand_in.usage import StandInUsage, usage_of
from spanledger.cli.provider_stand_in.wire import failing_status, words

_SERVICE = "xai_api.Chat"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
#: What a call is reported to cost, in ticks of 1e-10 US dollars.
COST_TICKS = 12_345_000


class XaiStandIn:
    """Runs from construction until `close()`; `address` is a host and port for an insecure channel."""

    def __init__(self) -> None:
        # Chooses by the installed protobuf which of its generated modules it has.
        messages: Any = import_module("xai_sdk.proto")
        server: Any = grpc
        self._chat, self._deferred = messages.chat_pb2, messages.deferred_pb2
        self._waiting: dict[str, Any] = {}
        self._count = 0
        self._server = server.server(ThreadPoolExecutor(max_workers=4))
        ask = self._chat.GetCompletionsRequest.FromString
        handlers = {
            "GetCompletion": server.unary_unary_rpc_method_handler(self._complete, ask, _bytes),
            "GetCompletionChunk": server.unary_stream_rpc_method_handler(self._stream, ask, _bytes),
            "StartDeferredCompletion": server.unary_unary_rpc_method_handler(self._defer, ask, _bytes),
            "GetDeferredCompletion": server.unary_unary_rpc_method_handler(
                self._deferred_answer, self._deferred.GetDeferredRequest.FromString, _bytes
            ),
        }
        self._server.add_generic_rpc_handlers((server.method_handlers_generic_handler(_SERVICE, handlers),))
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _complete(self, request: Any, context: Any) -> Any:
        _fail_if_asked(request, context)
        usage = _usage_of(request)
        answered = self._chat.GetChatCompletionResponse(**self._head(request), usage=_spent(self._chat, usage))
        for index in range(request.n or 1):
            message = self._chat.CompletionMessage(content=_said(request, usage), role="ROLE_ASSISTANT")
            answered.outputs.add(index=index, finish_reason="REASON_STOP", message=message)
        return answered

    def _stream(self, request: Any, context: Any) -> Iterator[Any]:
        _fail_if_asked(request, context)
        usage, head = _usage_of(request), self._head(request)
        for place, piece in enumerate(words(usage.output - usage.reasoning)):
            if place == 3 and request.model == "error-stream":
                context.abort(grpc.StatusCode.UNAVAILABLE, "The stand-in was asked to.")
            chunk = self._chat.GetChatCompletionChunk(**head)
            for index in range(request.n or 1):
                chunk.outputs.add(index=index, delta=self._chat.Delta(content=piece, role="ROLE_ASSISTANT"))
            yield chunk
        last = self._chat.GetChatCompletionChunk(**head, usage=_spent(self._chat, usage))
        for index in range(request.n or 1):
            last.outputs.add(index=index, finish_reason="REASON_STOP", delta=self._chat.Delta(role="ROLE_ASSISTANT"))
        yield last

    def _defer(self, request: Any, context: Any) -> Any:
        answered = self._complete(request, context)
        self._waiting[answered.id] = [None, answered]
        return self._deferred.StartDeferredResponse(request_id=answered.id)

    def _deferred_answer(self, request: Any, context: Any) -> Any:
        """Not ready the first time it is asked for."""
        answered = self._waiting[request.request_id].pop(0)
        if answered is None:
            return self._chat.GetDeferredCompletionResponse(status=self._deferred.DeferredStatus.PENDING)
        return self._chat.GetDeferredCompletionResponse(status=self._deferred.DeferredStatus.DONE, response=answered)

    def _head(self, request: Any) -> dict[str, Any]:
        self._count += 1
        return {"id": f"xai-{self._count:08d}", "model": f"{request.model}-0709", "system_fingerprint": "fp_stand_in"}


def _bytes(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content


def _fail_if_asked(request: Any, context: Any) -> None:
    if status := failing_status(request.model):
        context.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), f"The stand-in was asked to fail with {status}.")


def _usage_of(request: Any) -> StandInUsage:
    prompt = " ".join(part.text for message in request.messages for part in message.content)
    return usage_of({"prompt": prompt, **({"max_tokens": request.max_tokens} if request.HasField("max_tokens") else {})})


def _spent(chat: Any, usage: StandInUsage) -> Any:
    """Reasoning stands beside the completion."""
    kind = chat.GetChatCompletionResponse.DESCRIPTOR.fields_by_name["usage"].message_type._concrete_class
    counts: dict[str, int] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output - usage.reasoning,
        "reasoning_tokens": usage.reasoning,
        "total_tokens": usage.input + usage.output,
        "prompt_text_tokens": usage.input,
        "cached_prompt_text_tokens": usage.cache_read,
        "num_sources_used": 2,
        "cost_in_usd_ticks": COST_TICKS,
    }
    return kind(**{name: number for name, number in counts.items() if name in kind.DESCRIPTOR.fields_by_name})


def _said(request: Any, usage: StandInUsage) -> str:
    if request.HasField("response_format") and request.response_format.schema:
        return '{"answer": "counted once", "score": 1}'
    return "".join(words(usage.output - usage.reasoning))
