"""OTLP over gRPC: the three Export methods as raw bytes, so that nothing is parsed twice and gzip stays gzip."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.inflate import GZIP_MAGIC
from spanledger.collector.receive.refused import Busy, Refused
from spanledger.collector.receive.tls import TlsFiles
from spanledger.collector.received import Compression, Signal

_METHODS: dict[str, Signal] = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
}


class GrpcReceiver:
    """The gRPC listener."""

    def __init__(
        self,
        accept: Accept,
        *,
        host: str,
        port: int,
        streams: int = 1024,
        handshake_seconds: float = 10.0,
        idle_seconds: float = 600.0,
        tls: TlsFiles | None = None,
    ) -> None:
        """`streams` bounds those of one connection; a connection that has not spoken HTTP/2 in time is cut."""
        self._host, self._port, self._tls = host, port, tls
        settings = {
            "grpc.max_receive_message_length": accept.body_limit,
            # gRPC would decompress without a bound on the result; and what came compressed is journalled so.
            "grpc.per_message_decompression": 0,
            "grpc.so_reuseport": 0,
            "grpc.max_concurrent_streams": streams,
            "grpc.server_handshake_timeout_ms": int(handshake_seconds * 1000),
            "grpc.max_connection_idle_ms": int(idle_seconds * 1000),
            "grpc.max_metadata_size": 64 * 1024,
        }
        self._server = aio.server(options=list(settings.items()))
        self._server.add_generic_rpc_handlers((_Exports(accept),))
        self.port = 0

    async def start(self) -> None:
        """Listen; raises `OSError` when the port is in use or a certificate cannot be used. `port` is the bound one."""
        address = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        try:
            if self._tls is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, self._tls.for_grpc())
        except RuntimeError as error:
            raise OSError(f"{address} cannot be listened on: {error}") from error
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new request; those under way have `grace_seconds` to end."""
        await self._server.stop(grace_seconds)


class _Exports(grpc.GenericRpcHandler):
    def __init__(self, accept: Accept) -> None:
        self._handlers = {
            method: grpc.unary_unary_rpc_method_handler(_exporting(accept, signal))  # type: ignore[no-untyped-call]
            for method, signal in _METHODS.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(handler_call_details.method)


def _exporting(accept: Accept, signal: Signal) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def export(body: bytes, context: Any) -> bytes:
        # With decompression off, gRPC does not say whether a message was compressed; but no protobuf message begins
        # with gzip's two bytes (0x1f would be a field of wire type 7, which does not exist).
        compression: Compression = "gzip" if body[:2] == GZIP_MAGIC else "identity"
        authorization = next((str(value) for key, value in context.invocation_metadata() if key == "authorization"), "")
        try:
            answer = await accept.accept(signal, "protobuf", compression, body, authorization)
        except Refused as refused:
            trailing = [("grpc-status-details-bin", refused.status().SerializeToString())] if isinstance(refused, Busy) else []
            await context.abort(refused.grpc_status, str(refused), tuple(trailing))
            raise
        return bytes(answer.SerializeToString())

    return export
